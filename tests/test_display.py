"""Every public value shows itself: a short line, an escaped table, a data frame that comes back, and a picture."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import zetaplan as zp
from tests.made import made_scores
from zetaplan._display import LONGEST, ROWS, ByName, Display, Picture, shortened
from zetaplan.drift.cost import Cost
from zetaplan.plans.whole import Rounded
from zetaplan.solvers.menus.frontier import ChoiceFrontier
from zetaplan.verification.menus.drift import ChoiceRegretBound

mpl.use("Agg")

EVIL = "<script>alert('&')</script>"
#: Public classes that are no values with a table: settings of one line, a torch module, enums and errors.
OTHERS = {zp.Damping, zp.MixtureOfLoRA}


def values(layers: int) -> list[Any]:
    """One of every public value over so many layers, one of which is called like a tag."""
    names = [EVIL, *(f"model.layers.{k}" for k in range(1, layers))]
    gain = 1.0 + np.arange(layers)
    scores = many_scores(names, gain)
    rank = zp.allocation(dict(zip(names, gain, strict=True)), 1.0, 2.0 * layers)
    solved, plan = zp.solve(rank), zp.allocate(scores, mean_rank=4)
    low, high = 0.9 * gain, 1.1 * gain
    menu = zp.Menu(names, [("2", EVIL)] * layers, [(3.0, 1.0)] * layers, [((1.0,), (2.0,))] * layers)
    menus, taken = menu.choice(1.5 * layers), zp.choose(menu, 1.5 * layers)
    bounds = {"low": [(2.0, 0.5)] * layers, "high": [(4.0, 1.5)] * layers}
    watch = zp.Monitor(plan)
    return [
        rank,
        solved,
        zp.solve_integer(rank),
        zp.exact_optimum(rank),
        zp.frontier(rank),
        zp.constants(rank),
        zp.certify(rank, solved),
        zp.certify(rank, solved, exact=True),
        zp.regret(rank, solved, gain[::-1]),
        zp.regret_bound(rank, solved, low=low, high=high),
        zp.robust(rank, low, high),
        zp.solve_batch("allocation", np.array([gain, gain]), 1.0, [6.0, 8.0]),
        scores,
        plan,
        zp.prune(scores, sparsity=0.5),
        plan.rounded,
        plan.regret[-1],
        watch,
        watch.update(scores),
        zp.export(plan, to="csv"),
        zp.LossCurves(tuple(names), "wanda", np.array([0.5, 0.7]), np.ones((layers, 2))),
        menu,
        menus,
        taken,
        zp.solve(menus),
        zp.frontier(menus),
        zp.certify(menus, zp.solve(menus)),
        zp.robust(menus, **bounds),
        zp.regret_bound(menus, zp.solve(menus), **bounds),
        zp.joint(gain, 1.0, 8.0, 0.0),
        zp.solve(zp.joint(gain, 1.0, 8.0, 0.0)),
    ]  # fmt: skip


def many_scores(names: list[str], gain: Any) -> zp.Scores:
    """Scores of as many layers as there are names."""
    made, columns = made_scores(), {}
    for name, value in vars(made).items():
        if isinstance(value, np.ndarray):
            columns[name] = np.resize(value, (len(names), *value.shape[1:]))
    return made_scores(**{**columns, "names": tuple(names), "gain": gain, "low": gain, "high": gain})


SMALL, LARGE = values(4), values(300)
IDS = [f"{type(value).__name__}-{place}" for place, value in enumerate(SMALL)]


def test_every_public_class_is_tried() -> None:
    classes = {kind for name in zp.__all__ if inspect.isclass(kind := getattr(zp, name))}
    classes -= {kind for kind in classes if issubclass(kind, Enum | Exception)}
    tried = {type(value) for value in SMALL}
    assert classes - OTHERS == tried - {Cost, Rounded, ChoiceFrontier, ChoiceRegretBound}
    assert all(issubclass(kind, Display) for kind in tried)


@pytest.mark.parametrize("value", [*SMALL, *LARGE], ids=[*IDS, *(f"{name}-large" for name in IDS)])
def test_a_repr_is_short_and_informative(value: Any) -> None:
    text = repr(value)
    assert len(text) <= LONGEST + 100
    assert len(text.splitlines()) <= 5
    assert len(text) > len(type(value).__name__) + 20
    assert "array(" not in text


@pytest.mark.parametrize("value", LARGE, ids=IDS)
def test_html_is_a_small_escaped_table(value: Any) -> None:
    html = value._repr_html_()
    assert "<script>" not in html
    assert html.count("<tr>") <= ROWS + 1
    assert html.count("<table>") == html.count("</table>") == 1
    if EVIL in map(str, next(iter(value._columns().values()))):
        assert "&lt;script&gt;" in html


def test_a_layer_called_like_a_tag_is_in_most_tables() -> None:
    assert sum("&lt;script&gt;" in value._repr_html_() for value in SMALL) >= 20


@pytest.mark.parametrize("value", LARGE, ids=IDS)
def test_the_table_survives_pickle(value: Any) -> None:
    back = pickle.loads(pickle.dumps(value))  # noqa: S301 our own
    assert repr(back) == repr(value)
    assert {k: list(v) for k, v in back._columns().items()} == {k: list(v) for k, v in value._columns().items()}


@pytest.mark.parametrize("value", LARGE, ids=IDS)
def test_a_data_frame_holds_the_whole_table(value: Any) -> None:
    pytest.importorskip("pandas", reason="pandas is an extra")
    frame, (first, *others) = value.to_pandas(), value._columns()
    assert frame.index.name == first
    assert frame.index.tolist() == list(value._columns()[first])
    assert list(frame.columns) == others
    for heading in others:
        assert frame[heading].tolist() == list(value._columns()[heading]), heading


@pytest.mark.parametrize("value", [v for v in [*SMALL, *LARGE] if isinstance(v, Picture)], ids=repr)
def test_a_picture_is_drawn_on_the_given_axes(value: Picture) -> None:
    axes = Figure().subplots()
    assert value.plot(axes) is axes
    assert axes.has_data()
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    axes.figure.savefig("/dev/null", format="png")


def test_a_picture_makes_its_own_axes() -> None:
    from matplotlib import pyplot

    axes = SMALL[1].plot()
    assert isinstance(axes, Axes)
    pyplot.close(axes.figure)


@pytest.mark.parametrize("value", [v for v in SMALL if isinstance(v, ByName)], ids=repr)
def test_layers_are_found_by_name_and_by_place(value: Any) -> None:
    as_dict: Mapping[str, Any] = dict(value)
    assert len(value) == len(as_dict) == 4
    assert list(value) == value.keys() == list(as_dict)
    assert value.values() == [value[k] for k in range(4)] == [value[name] for name in value]
    assert value.items() == list(as_dict.items())
    assert value.keys()[0] in value
    assert "nonsense" not in value
    with pytest.raises(KeyError, match="no layer is called 'nonsense'; the closest name is"):
        value["nonsense"]
    with pytest.raises(IndexError):
        value[4]


def test_names_go_from_the_scores_through_the_plan() -> None:
    scores = made_scores()
    ranks, sparsity = zp.allocate(scores, mean_rank=4), zp.prune(scores, sparsity=0.5)
    assert scores["model.layers.3"] == scores.gain[3]
    assert list(ranks.ranks.values()) == ranks.rounded.units.tolist()
    assert sparsity.sparsity == dict(zip(scores.names, sparsity.rounded.solution.x.tolist(), strict=True))
    assert ranks.solution["model.layers.3"] == ranks.solution.x[3]
    assert zp.allocate(scores, mean_rank=4, expert_rank=2).experts["model.layers.0"] >= 1
    with pytest.raises(zp.SpecError, match="ranks: this plan decides Sparsity"):
        _ = sparsity.ranks


def test_a_loaded_plan_shows_itself_as_the_saved_one(tmp_path: Path) -> None:
    plan = zp.allocate(made_scores(), mean_rank=4)
    back = zp.load_plan(plan.save(tmp_path / "plan.json"))
    assert (repr(back), back._repr_html_(), dict(back)) == (repr(plan), plan._repr_html_(), dict(plan))
    assert back.solution.keys() == list(plan.names)


def test_without_pandas_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(zp.SpecError, match=r"pip install 'zetaplan\[pandas\]'"):
        SMALL[1].to_pandas()


def test_a_failing_certificate_begins_with_what_fails() -> None:
    rank = zp.allocation([1, 3], 1.0, 6.0)
    claim = zp.Solution(rank, np.array([2.0, 4.0]), 0.125)
    assert repr(zp.certify(rank, claim)).startswith("<Certificate: not valid: stationarity (residual ")


def test_a_claim_of_any_shape_has_a_repr() -> None:
    rank = zp.allocation([1, 3], 1.0, 6.0)
    for x in (np.zeros(0), np.array([np.nan, 1.0]), np.ones((2, 3))):
        assert repr(zp.Solution(rank, x, 0.0)).startswith("<Solution: ")
    menus = zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3)
    assert "not one option" in repr(zp.ChoiceSolution(menus, np.array([7, 7, 7]), 0.0))


def test_long_text_is_cut_in_its_middle() -> None:
    assert shortened("a" * 50 + "b" * 50, 21) == "a" * 9 + "..." + "b" * 9
    assert shortened("short", 5) == "short"


def test_a_plan_of_formats_gives_the_bits_of_every_block() -> None:
    weights = {"a": [{"name": "a.weight", "module": "a", "rows": 8, "columns": 4}], "b": []}
    weights["b"] = [{"name": f"b{i}.weight", "module": f"b{i}", "rows": 16, "columns": 4} for i in range(2)]
    facts = {"decides": "bits", "model": "tiny", "model_sha256": "0" * 64, "weights": weights}
    options, costs = (("q4", "q8"),) * 2, (((17.0,), (34.0,)), ((64.0,), (128.0,)))
    menu = zp.Menu(("a", "b"), options, ((2.0, 1.0), (8.0, 1.0)), costs, ("size",), ("bytes",), provenance=facts)
    plan = zp.choose(menu, 145)
    assert plan.taken == {"a": "q4", "b": "q8"}
    assert plan.bits == {"a": 8 * 17 / 32, "b": 8 * 128 / 128}
    with pytest.raises(zp.SpecError, match="expected a budget in bytes"):
        _ = zp.choose(replace(menu, units=("MB",)), 145).bits
    with pytest.raises(zp.SpecError, match="decides no formats"):
        _ = zp.choose(replace(menu, provenance={}), 145).bits
