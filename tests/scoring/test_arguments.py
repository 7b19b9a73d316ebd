"""Every bad value of every argument is a ZetaplanError in one line: a fuzz over types, not a list of cases."""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.tiny_models import byte_tokenizer, tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.errors import ZetaplanError
from zetaplan.evaluate.choices import Item, multiple_choice
from zetaplan.evaluate.perplexity import perplexity
from zetaplan.scoring import Damping, LoadedModel, load_model, read_sequences, score, score_each

IDS = torch.randint(0, 23, (2, 6), generator=torch.Generator().manual_seed(0))
TOKENIZER = byte_tokenizer()

#: Values of every type that a caller may come with.
VALUES = (
    None, True, 0, -1, 1, 3, 2**40, 10**400, 0.5, -0.5, math.nan, math.inf, 1e-320, 1j, "", "x", "2", "\ud83d",
    "a\0b", "x" * 5000, b"", b"x", [], [1], ["x"], [None], (), (2, 3), {}, {"x": 1}, {1}, object(), int, len, ...,
    range(3), np.int64(2), np.float32(0.5), np.nan, np.array([1.0, 2.0]), np.array([]), torch.tensor(2),
    torch.tensor([0.5, 1.0]),
    torch.ones(2, requires_grad=True), torch.ones(2, 4, dtype=torch.bfloat16), torch.int64, torch.float8_e4m3fn,
    torch.complex64, torch.device("meta"), "meta", "float8_e5m2", "complex64", "cuda:9999", "nn", nn.Linear(2, 2),
    nn.ReLU(),
    Damping(), TOKENIZER, Path("nowhere"), Path(), lambda: None, iter(()), Exception("x"),
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return tiny_llama(hidden=8, vocabulary=23, layers=1)


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat " * 9)
    return tmp_path / "text.txt"


def only_our_errors(call, **arguments):
    """Call it; what it raises is a ZetaplanError in one line."""
    message = ""
    try:
        call(**arguments)
    except ZetaplanError as error:
        message = str(error)
    assert "\n" not in message


def names(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", names(score))
def test_score(name, model, text):
    for value in VALUES:
        only_our_errors(score, **{"model": model, "batches": IDS, name: value})


def test_score_each(model):
    for value in VALUES:
        only_our_errors(score_each, model=model, batches=IDS, curvatures=value)
    with pytest.raises(ZetaplanError, match="curvatures: expected one or more names, got 'gradient'"):
        score_each(model, IDS, curvatures="gradient")


@pytest.mark.parametrize("name", names(read_sequences))
def test_read_sequences(name, text):
    for value in VALUES:
        only_our_errors(
            read_sequences, **{"files": text, "tokenizer": TOKENIZER, "sequences": 2, "length": 8, name: value}
        )


@pytest.mark.parametrize("name", names(load_model))
def test_load_model(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tiny_llama_dir(tmp_path, layers=1)
    for value in VALUES:
        only_our_errors(load_model, **{"source": folder, name: value})


@pytest.mark.parametrize("name", names(Damping))
def test_damping(name):
    for value in VALUES:
        only_our_errors(Damping, **{name: value})


BAD_IDS = {
    "a list": ([[1, 2], [3, 4]], "input_ids is a list; expected a tensor"),
    "an array": (np.ones((2, 4), int), "input_ids is a ndarray; expected a tensor"),
    "floats": (torch.ones(2, 4), "input_ids is of type torch.float32; expected whole numbers"),
    "bfloat16": (torch.ones(2, 4, dtype=torch.bfloat16), "input_ids is of type torch.bfloat16"),
    "requires_grad": (torch.ones(2, 4, requires_grad=True), "input_ids is of type torch.float32"),
    "booleans": (torch.ones(2, 4, dtype=torch.bool), "input_ids is of type torch.bool"),
    "beyond": (torch.full((2, 4), 23), r"id 23 is not in the model's vocabulary of 23 \(0 to 22\); use the tokenizer"),
    "negative": (torch.full((2, 4), -7), "id -7 is not in the model's vocabulary of 23"),
    "long": (torch.ones(2, 300, dtype=torch.int64), "sequences of 300 tokens exceed the model's 256"),
    "empty": (torch.ones(0, 4, dtype=torch.int64), "a batch has no tokens"),
    "no tokens": (torch.ones(2, 0, dtype=torch.int64), "a batch has no tokens"),
    "three sides": (torch.ones(2, 4, 4, dtype=torch.int64), r"must share one shape \(B, T\)"),
    "sparse": (torch.ones(2, 4).long().to_sparse(), "input_ids is no dense tensor"),
    "meta": (torch.ones(2, 4, dtype=torch.int64, device="meta"), "input_ids is no dense tensor"),
}


@pytest.mark.parametrize("case", BAD_IDS)
@pytest.mark.parametrize("key", ["input_ids", "labels", "attention_mask"])
def test_bad_ids_are_refused(case, key, model):
    ids, message = BAD_IDS[case]
    batch = {"input_ids": IDS, key: ids}
    only_our_errors(score, model=model, batches=batch)
    if key == "input_ids":
        for given in (batch, [batch]):
            with pytest.raises(ZetaplanError, match=message):
                score(model, given)


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_what_the_model_cannot_take_is_refused_by_the_same_words(build):
    """A table of positions and a rotary model alike, in everything that runs a model on text."""
    from zetaplan.models.apply import prune_blocks
    from zetaplan.models.calibrate import loss_curves

    network = build(layers=1, vocabulary=257)
    loaded = LoadedModel(network, TOKENIZER, "x", "", "x", "directory")
    long, unknown = torch.ones(2, 257, dtype=torch.int64), torch.full((2, 8), 257)
    name = next(name for name, _ in network.named_modules() if name.endswith(".0"))
    for ids, message in ((long, "exceed the model.s 256"), (unknown, "id 257 is not in the model's vocabulary of 257")):
        for action in (
            lambda ids=ids: score(network, ids),
            lambda ids=ids: score(network, IDS, held_out=ids),
            lambda ids=ids: loss_curves(network, "wanda", ids),
            lambda ids=ids: prune_blocks(network, "layers", {name: 5}, "wanda", ids),
        ):
            with pytest.raises(ZetaplanError, match=message):
                action()
    with pytest.raises(ZetaplanError, match="id 257 is not in the model's vocabulary of 257"):
        perplexity(network, unknown[0], length=8, stride=4)
    with pytest.raises(ZetaplanError, match=r"expected whole numbers, as torch\.int64, got torch\.float32"):
        perplexity(network, [0.5, 1.5, 2.5], length=8, stride=4)
    small = LoadedModel(build(layers=1, vocabulary=60), TOKENIZER, "x", "", "x", "directory")
    with pytest.raises(ZetaplanError, match="is not in the model's vocabulary of 60"):
        multiple_choice(small, [Item("prompt ~", ("é", "b"), 0)])
    assert multiple_choice(loaded, [Item("prompt", ("a", "b"), 0)]).items


def test_padding_may_be_an_id_that_the_model_lacks(model):
    ids, mask = IDS.clone(), torch.ones_like(IDS)
    mask[1, 4:] = 0
    known = score(model, {"input_ids": ids, "attention_mask": mask}).gain
    for filler in (23, -100, 10**9):
        ids[1, 4:] = filler
        np.testing.assert_array_equal(score(model, {"input_ids": ids, "attention_mask": mask}).gain, known)


def test_plain_ids_are_a_batch(model):
    known = score(model, {"input_ids": IDS})
    for given in (IDS, [IDS], IDS.int(), iter([IDS])):
        np.testing.assert_array_equal(score(model, given).gain, known.gain)
    np.testing.assert_allclose(score(model, [IDS[0], IDS[1]]).gain, known.gain, rtol=1e-5)


def test_a_number_is_an_absolute_damping(model):
    known = score(model, IDS, damping=Damping(1e-3, mode="absolute"))
    for number in (1e-3, np.float64(1e-3)):
        found = score(model, IDS, damping=number)
        np.testing.assert_array_equal(found.gain, known.gain)
        assert found.provenance["damping"] == known.provenance["damping"]
    for bad in (True, 0, -1.0, math.nan, "1"):
        with pytest.raises(ZetaplanError, match="damping: expected a finite number > 0"):
            score(model, IDS, damping=bad)


def test_a_model_without_a_head_is_refused():
    with pytest.raises(ZetaplanError, match="has no language-model head, so it predicts no token"):
        score(tiny_llama(hidden=8, vocabulary=23).model, IDS)
