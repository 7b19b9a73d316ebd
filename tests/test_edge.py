"""Every public function answers wrong arguments by an error of zetaplan in one line; one argument at a time is junk."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zetaplan as zp
from tests.bits.menus import menu_of, modules
from tests.made import made_scores

SCALARS = [
    None,
    "x",
    "",
    b"x",
    True,
    -1,
    0,
    1.5,
    -1.0,
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    2**70,
    1j,
    object(),
    print,
]
SEQUENCES = [[], [[]], [1], [1, 3, 5], [1, [2]], [math.nan, 1], [-1, 1], [math.inf, 1], [0, 0], ["a", "b"], [None, 1]]
OTHERS = [{}, {"a": 1}, {1: 2}, (), set(), iter([1]), np.zeros((2, 2, 2)), np.array(["a"]), np.array([1j, 2j]),
          torch.ones(2, requires_grad=True), torch.tensor([1.0, 3.0], dtype=torch.bfloat16), Path("none.json"),
          "none.json", int, [0] * 3000, [1e308, 1e308], [5e-324, 1]]  # fmt: skip
JUNK = [*SCALARS, *SEQUENCES, *OTHERS]


def calls() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """A call that works of every public function that needs no model, by its name."""
    scores = made_scores()
    rank = zp.allocation([1, 3], 1.0, 6.0)
    sizes = zp.pruning([1, 3], 1.0, target=1.0)
    solved, plan = zp.solve(rank), zp.allocate(scores, mean_rank=4)
    menu = zp.Menu(("a", "b"), (("2", "4"),) * 2, ((3.0, 1.0), (2.0, 0.0)), (((1.0,), (2.0,)), ((1.0,), (4.0,))))
    chosen = zp.choose(menu, 3)
    bits = menu_of(modules("q_proj"), ("q4_0", "q8_0"), lambda k, j: -float(j))
    proof = zp.certify(rank, solved, exact=True).document
    tried = {
        "allocation": {"quality": [1, 3], "costs": 1.0, "budget": 6.0, "lower": 0.0, "upper": 9.0, "beta": 1.0},
        "pruning": {"quality": [1, 3], "sizes": 1.0, "sparsity": 0.5, "target": None, "upper": 0.9, "kappa": 1.0},
        "barrier_pruning": {"quality": [1, 3], "sizes": 1.0, "sparsity": 0.5},
        "exponential_allocation": {"quality": [1, 3], "costs": 1.0, "budget": 6.0},
        "power_allocation": {"quality": [1, 3], "costs": 1.0, "budget": 6.0},
        "power_pruning": {"quality": [1, 3], "sizes": 1.0, "target": 0.5},
        "precision": {"quality": [1, 3], "sizes": 1.0, "memory": 6.0},
        "joint": {"quality": [1, 3], "costs": [1.0, 1.0], "sizes": [5.0, 5.0], "budget": 1.0},
        "solve": {"instance": rank, "method": "exact"},
        "solve_batch": {"program": "pruning", "quality": [[1.0, 3.0]], "data": 1.0, "limits": [1.0], "upper": 0.9},
        "solve_integer": {"instance": rank, "step": 1},
        "exact_optimum": {"instance": rank},
        "frontier": {"instance": rank},
        "constants": {"instance": rank},
        "certify": {"instance": rank, "solution": solved, "exact": False},
        "check_certificate": {"source": proof},
        "regret": {"instance": rank, "solution": solved, "target_quality": [2, 6]},
        "regret_bound": {"instance": rank, "solution": solved, "low": [0.5, 1.0], "high": [2.0, 6.0]},
        "robust": {"instance": sizes, "low": [0.5, 2.0], "high": [1.5, 4.0], "worst": "regret", "normalised": False},
        "allocate": {"scores": scores, "mean_rank": 4.0, "budget": None, "lower": 0.0, "upper": 9.0, "pins": {},
                     "groups": (), "step": 1, "drift": 0.1, "gain": "raw", "method": "exact",
                     "costs": None, "expert_rank": None},
        "prune": {"scores": scores, "sparsity": 0.5, "target": None, "lower": 0.0, "upper": 0.9, "sizes": None,
                  "gain": "raw", "kappa": 1.0, "bits": 0.0},
        "plan": {"scores": scores, "kind": "rank", "program": None},
        "plan_document": {"plan": plan},
        "save_plan": {"plan": plan, "path": "made.json"},
        "save_scores": {"scores": scores, "path": "made.json"},
        "load_plan": {"path": "plan.json"},
        "load_scores": {"path": "scores.json"},
        "write_report": {"plan": plan, "path": "made.html", "file": "plan.json"},
        "export": {"plan": plan, "to": "csv", "model": None},
        "choice": {"losses": [[3, 1], [2, 0]], "costs": [[1, 2], [1, 4]], "budget": 5.0},
        "choose": {"menu": menu, "budget": 5.0, "pins": {}, "forbid": {}, "groups": (), "time_limit": 1.0},
        "quantize": {"menu": bits, "bits_per_weight": 6.0, "runtime": "llama.cpp", "pins": {}, "forbid": {},
                     "floors": {}, "time_limit": 1.0},
        "save_menu": {"menu": menu, "path": "made.json"},
        "save_choice": {"plan": chosen, "path": "made.json"},
        "load_menu": {"path": "menu.json"},
        "load_choice": {"path": "choice.json"},
        "Monitor": {"plan": plan, "tolerance": 0.01},
    }  # fmt: skip
    methods = {
        "Monitor.update": (zp.Monitor(plan).update, {"scores": scores}),
        "Frontier.at": (zp.frontier(rank).at, {"limit": 3.0}),
        "Plan.save": (plan.save, {"path": "made.json"}),
        "quantize by bytes": (zp.quantize, {"menu": bits, "size": 2e4}),
        "quantize by memory": (zp.quantize, {"menu": bits, "memory": 3e4, "context": 9, "kv": "f16"}),
        "Menu.choice": (menu.choice, {"budget": 5.0, "pins": {}, "forbid": {}, "groups": ()}),
        "export of formats": (zp.export, {"plan": chosen, "to": "json", "model": None}),
        "Export.save": (zp.export(plan, to="csv").save, {"path": "made.csv"}),
    }
    return {**{name: (getattr(zp, name), given) for name, given in tried.items()}, **methods}


def wrong(call: Callable[..., Any], given: dict[str, Any]) -> Iterator[tuple[str, Any, Exception]]:
    """Whatever a call raises that is no error of zetaplan in one line, one argument being junk."""
    for argument in given:
        for value in JUNK:
            try:
                call(**{**given, argument: value})
            except zp.ZetaplanError as error:
                if "\n" in str(error) or not str(error):
                    yield argument, value, error
            except Exception as error:
                yield argument, value, error


#: Public functions that need a model; their arguments are tried with the models.
MODELS = {"adapter", "apply_pruning", "divergence", "load_model", "loss_curves", "mixture", "multiple_choice"}
MODELS |= {"calibrated", "measure", "measure_levels", "perplexity", "read_sequences", "refine", "score"}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    zp.save_scores(made_scores(), "scores.json")
    zp.allocate(made_scores(), mean_rank=4).save("plan.json")
    menu = zp.Menu(("a",), (("2", "4"),), ((3.0, 1.0),), (((1.0,), (2.0,)),))
    menu.save("menu.json")
    zp.choose(menu, 3).save("choice.json")


@pytest.mark.parametrize("name", calls())
def test_junk_is_refused_in_one_line(name: str) -> None:
    call, given = calls()[name]
    call(**given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy and torch, about what they were made to convert
        found = [(argument, value, repr(error)) for argument, value, error in wrong(call, given)]
    assert not found


def test_every_public_function_is_tried() -> None:
    functions = {name for name in zp.__all__ if inspect.isfunction(getattr(zp, name))}
    assert functions - MODELS == functions & calls().keys()


def test_the_trial_sees_an_error_of_another_kind() -> None:
    def careless(x: Any) -> float:
        return float(x)

    assert {type(error) for _, _, error in wrong(careless, {"x": 1})} >= {TypeError, ValueError}
