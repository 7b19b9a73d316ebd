"""What sympy derives, against the formulas of the paper and against finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

import zetaplan as zp
from zetaplan.spec.constants import constants, reachable
from zetaplan.spec.derivation import derive
from zetaplan.spec.programs import named, programs
from zetaplan.verification.conformance import planted_instances

PLANTED = [planted for planted in planted_instances() if "K = 5" in planted.name]


def symbols(*names: str) -> list[sp.Symbol]:
    return [sp.Symbol(name, positive=True) for name in names]


def same(a: sp.Expr, b: str) -> bool:
    """Equal as expressions once every symbol is positive."""
    plain = a.subs({s: sp.Symbol(s.name, positive=True) for s in a.free_symbols})
    names = {s.name: s for s in plain.free_symbols}
    return bool(
        sp.simplify(plain - sp.sympify(b.replace("lambda", "lamda"), names | {"lamda": names.get("lambda")})) == 0
    )


def test_closed_forms_of_the_paper() -> None:
    (allocation,), (pruning,) = derive(named("allocation")), derive(named("pruning"))
    assert same(allocation.closed_form, "gamma*w_k/((alpha+lambda)*c_k) - 1")  # Eq. 12
    assert same(pruning.closed_form, "(b+lambda)*n_k/(2*eta*w_k)")  # Eq. 15
    assert same(pruning.second_derivative, "2*eta*w_k")
    assert same(allocation.dual, "gamma*w_k - (alpha+lambda)*c_k - gamma*w_k*log(gamma*w_k/((alpha+lambda)*c_k))")


@pytest.mark.parametrize("name", programs())
def test_the_closed_form_is_stationary(name: str) -> None:
    for derivation in derive(named(name)):
        at_optimum = derivation.stationarity.subs(derivation.term.decision, derivation.closed_form)
        numbers = {s: sp.Rational(3, 2) for s in at_optimum.free_symbols} | {sp.Symbol("lambda", nonnegative=True): 2}
        assert abs(at_optimum.subs(numbers).evalf(30)) < 1e-25


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_constants_bound_the_second_derivatives_inside_the_box(planted: object) -> None:
    """mu <= f'' <= L between the floor and what the limit allows; f'' against central differences of f'."""
    instance = planted.instance
    found = constants(instance)
    rows = zip(
        derive(instance.program),
        instance.channels,
        reachable(instance),
        *(instance.rows(v) for v in (found.strong_convexity, found.smoothness)),
        strict=True,
    )
    for derivation, channel, reach, mu, smoothness in rows:
        arguments = (0.0, channel.weight, channel.unit_cost, *instance.scalars)
        for t in np.linspace(0.1, 0.9, 5):
            x = channel.lower + t * (reach - channel.lower)
            h = 1e-5 * np.maximum(x, 1e-3)
            numeric = (derivation.gradient(x + h, *arguments) - derivation.gradient(x - h, *arguments)) / (2 * h)
            exact = np.broadcast_to(derivation.curvature(x, *arguments), x.shape)
            assert np.allclose(numeric, exact, rtol=1e-5, atol=1e-8)
            assert (exact >= mu * (1 - 1e-12)).all()
            assert (exact <= smoothness * (1 + 1e-12)).all()


def test_constants_of_pruning_are_those_of_the_ledger() -> None:
    """C13: strongly convex with 2 eta min q^kappa; C20: L_q = 2 eta kappa q^(kappa-1) rho_max."""
    i = zp.pruning([3, 1], 1, eta=7.0, upper=0.5)
    found = constants(i)
    assert found.mu == pytest.approx(2 * 7 * 0.25)
    assert pytest.approx(2 * 7 * 0.75) == found.L
    assert found.L_q == pytest.approx(2 * 7 * 0.5)
    assert constants(zp.pruning([3, 0], 1)).mu == 0.0


def test_latex_shows_the_program() -> None:
    assert r"\log{\left(m_{k} + 1 \right)}" in named("allocation").latex()
    assert r"\ge P" in named("pruning").latex()


def test_a_single_term_that_frees_the_resource_is_asked_to_be_a_target() -> None:
    (term,) = named("allocation").terms
    backwards = replace(named("allocation"), terms=(replace(term, resource=-term.resource),))
    with pytest.raises(zp.SpecError, match="drop the sign and reverse the sense"):
        derive(backwards)
