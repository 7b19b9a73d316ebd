"""The table of the site says what the matrix of architectures finds."""

from __future__ import annotations

import json

import pytest

from tests.decoders import tiny_decoder
from tests.models.matrix import ARCHITECTURES, KINDS, TABLE, YES, found_for
from zetaplan.models.weights import embedding_of, head_of, others, weights

COMMITTED = json.loads(TABLE.read_text())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_table_says_what_is_found(kind: str) -> None:
    assert found_for(kind) == COMMITTED["table"][kind]


def test_an_embedding_under_several_names_is_one_matrix() -> None:
    """ProphetNet's decoder holds the embedding of the model as a module of its own."""
    model = tiny_decoder("prophetnet")
    known = {weight.name: weight for weight in weights(model)}
    [embedding] = [weight for weight in known.values() if not weight.layer]
    assert embedding.name == embedding_of(model) == head_of(model) == f"{embedding.module}.weight"
    assert sum(weight.numel for weight in known.values()) + sum(others(model).values()) == model.num_parameters()


def test_the_table_has_every_architecture_once() -> None:
    assert {kind: list(names) for kind, names in KINDS.items()} == COMMITTED["kinds"]
    assert list(COMMITTED["table"]) == list(ARCHITECTURES)
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES) >= 40


def test_scores_pruning_and_rounding_work_for_every_architecture() -> None:
    """What a tool refuses is its own; what the product refuses is a fault."""
    own = ("score, layers", "score, modules", "magnitude", "wanda", "sparsegpt", "low rank", "rounding", "torch-prune")
    for kind, row in COMMITTED["table"].items():
        assert {row[check] for check in own} == {YES}, kind
