"""One division of counts: what `apply` removes and what an export names are the same, linear by linear."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from fractions import Fraction
from random import Random

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.exports.exporting import scores_of
from tests.tiny_models import tiny_gpt2, tiny_llama
from zetaplan.errors import SpecError
from zetaplan.exports import export, format_names, format_of
from zetaplan.exports.targets import linears, modules_of
from zetaplan.models.apply import apply_pruning
from zetaplan.plans.divide import by_remainders, divide
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import prune
from zetaplan.scoring.peers.rounding import largest_fractions

SIZES = st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any)


@st.composite
def division(draw: st.DrawFn) -> tuple[int, list[int]]:
    """An amount and sizes that can hold it, equal sizes and therefore ties among them."""
    sizes = draw(SIZES)
    sizes += draw(st.sampled_from([[], sizes, [sizes[0]] * 3]))
    return draw(st.integers(0, sum(sizes))), sizes


@given(division())
@settings(max_examples=400)
def test_a_division_is_exact_and_within_one_of_proportion(drawn: tuple[int, list[int]]) -> None:
    amount, sizes = drawn
    parts = divide(amount, sizes)
    assert sum(parts) == amount
    for part, size in zip(parts, sizes, strict=True):
        assert 0 <= part <= size
        assert abs(part - Fraction(amount * size, sum(sizes))) < 1


@given(division())
@settings(max_examples=400)
def test_the_remainders_that_are_rounded_up_are_the_largest_and_first(drawn: tuple[int, list[int]]) -> None:
    """Hamilton's rule, stated without sorting: whoever is rounded up comes before whoever is not."""
    amount, sizes = drawn
    whole = sum(sizes)
    up = [part - amount * size // whole for part, size in zip(divide(amount, sizes), sizes, strict=True)]
    rank = [(-(amount * size % whole), k) for k, size in enumerate(sizes)]
    assert set(up) <= {0, 1}
    raised, kept = ([r for r, u in zip(rank, up, strict=True) if u == chosen] for chosen in (1, 0))
    assert not raised or not kept or max(raised) < min(kept)


@given(division(), st.randoms())
@settings(max_examples=200)
def test_the_order_of_the_sizes_decides_ties_only(drawn: tuple[int, list[int]], random: Random) -> None:
    amount, sizes = drawn
    order = list(range(len(sizes)))
    random.shuffle(order)
    here = divide(amount, sizes)
    there = dict(zip(order, divide(amount, [sizes[k] for k in order]), strict=True))
    for size in set(sizes):  # equal sizes share remainders, so that they may swap among themselves
        same = [k for k, value in enumerate(sizes) if value == size]
        assert abs(sum(here[k] for k in same) - sum(there[k] for k in same)) <= len(sizes)
    remainders = [amount * size % sum(sizes) for size in sizes]
    if len(set(remainders)) == len(remainders):
        assert here == [there[k] for k in range(len(sizes))]


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=20), st.integers(0, 12))
@settings(max_examples=200)
def test_the_peers_round_the_same_shares_alike(numerators: list[int], bits: int) -> None:
    """The rule of scoring/peers, which may not import from here, on shares that doubles hold exactly."""
    shares = [Fraction(n, 1 << bits) for n in numerators]
    total = int(sum(shares))
    if total >= sum(int(share) for share in shares):
        theirs = largest_fractions(np.array([float(share) for share in shares]), total)
        assert theirs.tolist() == by_remainders(shares, total, [1 << 21] * len(shares))


SHAPES = st.fixed_dictionaries(
    {"hidden": st.sampled_from([8, 16, 24, 40]), "layers": st.integers(1, 3)}, optional={"seed": st.integers(0, 9)}
)


def written(plan: Plan, to: str, model: nn.Module) -> bytes | None:
    try:
        return export(plan, to=to, model=model).data
    except SpecError as error:  # GPT-2 for tools that prune nn.Linear only, equal ratios for one that divides by spread
        if not re.search(r"prunes nn\.Linear only|divides by their spread", str(error)):
            raise
        return None


def counts_of(data: bytes, to: str, model: nn.Module) -> dict[str, int]:
    """The weights to remove by linear that a file names, read without our own readers."""
    sizes = {m.name: m.weights for m in linears(modules_of(model))}
    if to == "torch-prune":
        return {name: int(count) for name, count in re.findall(r'^    "(.+)": (\d+),$', data.decode(), re.MULTILINE)}
    if to == "json":
        return dict(json.loads(data)["units"])
    if to == "csv":
        return {name: int(count) for name, count in (row.rsplit(",", 1) for row in data.decode().splitlines()[1:])}
    if to == "alphapruning":
        shares = dict(zip(sizes, np.load(io.BytesIO(data), allow_pickle=False).tolist(), strict=True))
    else:
        modifier = yaml.safe_load(data)["pruning_stage"]["pruning_modifiers"]["SparseGPTModifier"]
        shares = dict(zip(modifier["targets"], modifier["sparsity"], strict=True))
    return {name: round(share * sizes[name]) for name, share in shares.items()}


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("blocks", ["layers", "modules"])
@given(shape=SHAPES, sparsity=st.floats(0.01, 0.99), cap=st.floats(0, 1))
@settings(max_examples=12, deadline=None)
def test_what_is_applied_is_what_is_exported(
    make: Callable[..., nn.Module], blocks: str, shape: dict[str, int], sparsity: float, cap: float
) -> None:
    model = make(**shape)
    plan = prune(scores_of(model, blocks), sparsity=sparsity, upper=max(cap, sparsity))
    forms = [to for to in format_names() if format_of(to).COUNTS is None or "weights" in format_of(to).COUNTS]
    exported = [counts_of(data, to, model) for to in forms if (data := written(plan, to, model)) is not None]
    apply_pruning(model, plan, "magnitude")
    removed = {m.name: int((model.get_submodule(m.name).weight == 0).sum()) for m in linears(modules_of(model))}
    assert len(exported) >= 3
    for counts in exported:
        assert {name: counts.get(name, 0) for name in removed} == removed


def test_a_thousand_consecutive_counts_on_the_shapes_of_smollm2() -> None:
    """`apply` divided by cumulative shares once, and 874 of these counts came out otherwise."""
    sizes = [576 * 576, 192 * 576, 192 * 576, 576 * 576, 1536 * 576, 1536 * 576, 576 * 1536]
    names = ["q", "k", "v", "o", "gate", "up", "down"]
    half = sum(sizes) // 2
    for count in range(half, half + 1000):
        parts = dict(zip(names, divide(count, sizes), strict=True))
        assert sum(parts.values()) == count
        assert parts["q"] - parts["o"] in (0, 1)  # equal sizes: the first gets the odd one
        assert parts["gate"] >= parts["up"] >= parts["down"]
