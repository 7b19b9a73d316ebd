"""What a run needs is known before it starts, fits in what is free, and falls with the batch size."""

import gc
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.tiny_models import in_float64, tiny_gpt2, tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.scoring import cache, load_model, score
from zetaplan.scoring.backward import pass_result
from zetaplan.scoring.backward.activations import bytes_per_token
from zetaplan.scoring.backward.footprint import Footprint, footprint
from zetaplan.scoring.backward.free_memory import _available, _left_in_groups
from zetaplan.scoring.backward.statistics import Gram
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches

MODEL = tiny_llama(layers=3, hidden=32, vocabulary=61)
N, T = 12, 24


def ids(sequences: int = N, length: int = T) -> torch.Tensor:
    return torch.randint(0, 61, (sequences, length), generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def crowded(monkeypatch):
    """Nothing is free."""
    monkeypatch.setattr(pass_result, "room_on", lambda device: 0)


def estimated(size: int, carried: float, sequences: int = N) -> Footprint:
    data = checked_batches(ids(sequences), size)
    return footprint(MODEL, partition(MODEL, "layers"), data, {Gram}, (), None, Ranks(), carried)


@given(st.integers(2, 40), st.floats(0.0, 5e5), st.none() | st.integers(0, 10**8), st.data())
def test_a_smaller_batch_is_never_estimated_to_need_more(sequences, carried, room, data):
    """For any cost of the plain pass, in memory and on the disk, against every larger batch and one of all."""
    small = data.draw(st.integers(1, sequences))
    large = data.draw(st.integers(small, sequences))
    found = [estimated(size, carried, sequences) for size in (small, large)]
    least, most = (one.need(held=one.fits(None, room)) for one in found)
    assert least <= max(most, room or 0) + 2  # each estimate is rounded to a byte
    assert least <= found[0].whole + found[0].turn + found[0].kept + 2


class Live(TorchDispatchMode):
    """The most bytes that tensors held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, torch.Tensor):
                self._meet(value.untyped_storage())
        return found

    def _meet(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place not in self.known:
            self.known.add(place)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._leave, place, size)

    def _leave(self, place: int, size: int) -> None:
        self.known.discard(place)
        self.now -= size


WIDE = tiny_llama(layers=3, hidden=32, vocabulary=601)  # as in real models, the logits weigh much


def measured(size: int, where: str) -> tuple[int, int]:
    """Bytes at the peak, and as they were estimated."""
    gc.collect()
    with Live() as live:
        facts = score(WIDE, {"input_ids": ids()}, batch_size=size).provenance["memory"]
    assert facts["pairs"] == (where if size < N else "memory")
    estimate = facts["estimate"]
    return live.peak, estimate["pass"] + estimate["pairs"] * (facts["pairs"] == "memory")


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_smaller_batch_never_needs_more(where, request):
    if where == "disk":
        request.getfixturevalue("crowded")
    found = [measured(size, where) for size in (1, 2, 3, 6, N)]
    for (less, _), (more, _) in pairwise(found):
        assert less <= 1.02 * more
    for peak, estimate in found[2:]:  # with one or two sequences, the statistics of a module weigh as much
        assert 0.5 * peak <= estimate <= 1.5 * peak
    if where == "disk":
        assert found[0][0] < 0.5 * found[-1][0]


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_the_batch_follows_what_is_free(build, monkeypatch):
    model, batch = in_float64(build(hidden=16, vocabulary=61)), {"input_ids": ids()}
    parts, data = partition(model, "layers"), checked_batches(batch)
    carried = bytes_per_token(model, parts, data)
    needed = footprint(model, parts, data, {Gram}, (), None, Ranks(), carried)
    whole = score(model, batch)
    assert whole.provenance["batch_size"] == N
    monkeypatch.setattr(pass_result, "room_on", lambda device: needed.turn + int(carried * T * 4.5))
    found = score(model, batch)
    assert found.provenance["batch_size"] == 4
    assert found.provenance["memory"]["pairs"] == "disk"
    np.testing.assert_allclose(found.gain, whole.gain, rtol=1e-9)
    np.testing.assert_allclose(found.noise_floor, whole.noise_floor, rtol=1e-9)
    assert score(model, batch, batch_size=6).provenance["batch_size"] == 6  # what was asked for stays


def test_with_nothing_free_a_run_goes_on_one_by_one(crowded):
    assert score(MODEL, ids()).provenance["batch_size"] == 1


def test_the_estimate_is_said_before_the_start(capsys, crowded):
    score(MODEL, ids(), progress=True)
    said = capsys.readouterr().err
    assert said.index("GB for a pass of 1 sequence, 0.0 GB of pairs on the disk") < said.index("scoring")
    score(MODEL, ids())
    assert capsys.readouterr().err == ""


def test_pairs_without_a_cache_are_gone_after_a_failure(folder, crowded):
    model = tiny_llama(layers=2, hidden=8, vocabulary=61)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ScoringError, match="holds non-finite values"):
        score(model, ids(), batch_size=2)
    gc.collect()
    assert not any(folder.iterdir())


def test_free_memory_is_the_least_that_anyone_leaves(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   5 kB\n")
    assert _available(tmp_path / "meminfo") == 5 * 1024
    assert _available(tmp_path / "nothing") is None
    new, old, own = tmp_path / "a" / "b", tmp_path / "memory" / "c", tmp_path / "own"
    own.write_text("4:cpu,memory:/c\n0::/a/b\n")
    for group, names in ((new, ("max", "current")), (old, ("limit_in_bytes", "usage_in_bytes"))):
        group.mkdir(parents=True)
        for name, number in zip(names, (1000, 400), strict=True):
            (group / f"memory.{name}").write_text(f"{number}\n")
    (new / "memory.stat").write_text("anon 3\ninactive_file 50\n")
    (tmp_path / "a" / "memory.max").write_text("max\n")
    (tmp_path / "a" / "memory.current").write_text("7\n")
    assert sorted(_left_in_groups(tmp_path, own)) == [600, 650]
    assert list(_left_in_groups(tmp_path / "nowhere", tmp_path / "nothing")) == []


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
    """A file where the folder of the cache should be: nobody can write below it, root neither."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "file"))


@pytest.mark.parametrize("options", [{"cache": True}, {"cache": True, "batch_size": 2}, {"batch_size": 2}])
def test_a_cache_that_cannot_be_written_is_said_in_one_line(unwritable, crowded, options):
    with pytest.raises(ScoringError, match=r"cache: .* cannot be written: .*; .* set ZETAPLAN_CACHE to a writable"):
        score(MODEL, ids(), **options)


def test_a_run_that_needs_no_cache_does_not_miss_it(unwritable):
    assert score(MODEL, ids()).provenance["batch_size"] == N


def test_a_model_that_has_to_be_converted_says_where_it_cannot_be(unwritable, tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ScoringError, match="set ZETAPLAN_CACHE to a writable folder"):
        load_model(tmp_path / "x.gguf")


def test_a_disk_that_fills_up_does_not_cost_the_result(monkeypatch):
    def full(file: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    with pytest.warns(UserWarning, match="No space left on device; the result is not cached"):
        found = score(MODEL, ids(), cache=True)
    np.testing.assert_array_equal(found.gain, score(MODEL, ids()).gain)
