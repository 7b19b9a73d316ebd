"""Where pairs wait changes no number; what is killed goes on; what is damaged is found out."""

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_models import tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.scoring import score, score_each
from zetaplan.scoring.backward.pair_store import DiskStore, MemoryStore
from zetaplan.scoring.cache import fingerprint, finished, keep
from zetaplan.scoring.curvature import nystrom
from zetaplan.scoring.sizes import as_bytes

TIGHT = 33_600_000  # two chunks of gradients, 33,554,432 bytes, and little more: no room for pairs that wait


@pytest.fixture(scope="module")
def model():
    return tiny_llama(hidden=8, vocabulary=23)


@pytest.fixture(scope="module")
def batch():
    return {"input_ids": torch.randint(0, 23, (6, 12), generator=torch.Generator().manual_seed(0))}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one, other):
    for name in ("gain", "noise_floor", "standard_error", "cross_fitted", "gradient_norm"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_array_equal(first, second)
    assert one.loss == other.loss


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, d = torch.randn(2, 3, 4, generator=generator), torch.randn(2, 3, 5, generator=generator)
    return x.bfloat16(), (d, torch.arange(2))


def test_a_spilled_pair_comes_back_bit_by_bit(tmp_path):
    store = DiskStore(tmp_path / "run", [0, 1], ["a"])
    for number in (0, 1):
        store.put("a", pair(number))
        store.finish(number, torch.tensor([1.5, float(number)], dtype=torch.float64))
    again = DiskStore(tmp_path / "run", [0, 1], ["a"])
    assert again.losses(1).tolist() == [1.5, 1.0]
    for number, (x, d) in enumerate(again.take("a")):
        expected = pair(number)
        assert x.dtype == torch.bfloat16
        assert torch.equal(x, expected[0])
        assert torch.equal(d[0], expected[1][0])
        assert torch.equal(d[1], expected[1][1])
    again.close()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "index", "foreign"])
def test_a_damaged_batch_is_not_trusted(tmp_path, harm):
    store = DiskStore(tmp_path, [0], ["a"])
    store.put("a", pair())
    store.finish(0, torch.zeros(2, dtype=torch.float64))
    file, index = tmp_path / "batch-000000" / "a.safetensors", tmp_path / "batch-000000" / "index.json"
    content = bytearray(file.read_bytes())
    if harm == "flip":
        content[-1] ^= 1
        file.write_bytes(content)
    elif harm == "cut":
        file.write_bytes(content[:-1])
    elif harm == "remove":
        file.unlink()
    elif harm == "index":
        index.write_text("{")
    names = ["b"] if harm == "foreign" else ["a"]
    assert DiskStore(tmp_path, [0], names).losses(0) is None


def test_a_batch_that_vanishes_in_mid_run_is_named(tmp_path):
    store = DiskStore(tmp_path, [0], ["a"])
    store.put("a", pair())
    store.finish(0, torch.zeros(2, dtype=torch.float64))
    (tmp_path / "batch-000000" / "a.safetensors").unlink()
    with pytest.raises(ScoringError, match=r"a.safetensors was deleted or damaged"):
        store.take("a")


def test_held_pairs_count_each_storage_once():
    store, shared = MemoryStore(2), torch.zeros(2, 3, 4)
    store.put("q", (shared, torch.zeros(2, 3, 4)))
    store.put("k", (shared, torch.zeros(2, 3, 4)))
    store.finish(0, torch.zeros(2))
    assert store.peak == 3 * 24 * 4


def test_the_disk_changes_no_bit(model, batch):
    held = score_each(model, batch, curvatures=["block-fisher", "mc-fisher"], batch_size=2)
    spilled = score_each(model, batch, curvatures=["block-fisher", "mc-fisher"], batch_size=2, memory=TIGHT)
    for name in held:
        same(held[name], spilled[name])
        assert held[name].provenance["memory"]["pairs"] == "memory"
        assert spilled[name].provenance["memory"]["pairs"] == "disk"
        assert spilled[name].provenance["memory"]["waiting"] == 0


def test_the_estimate_bounds_what_waits(model, batch):
    memory = score(model, batch, batch_size=2).provenance["memory"]
    assert 0 < memory["waiting"] <= memory["estimate"]["pairs"]
    assert memory["estimate"]["pairs"] <= 2 * memory["waiting"]


def test_a_spill_without_a_cache_leaves_nothing(model, batch, cache):
    score(model, batch, batch_size=2, memory=TIGHT)
    assert not any(cache.iterdir())


def test_too_little_memory_is_said_with_the_least(model, batch):
    with pytest.raises(ScoringError, match=r"memory = 1,000 bytes: .* give at least 33,"):
        score(model, batch, batch_size=2, memory=1000)


def test_what_products_need_counts_and_is_refused_where_it_does_not_fit(model, batch):
    estimate = score(model, batch, curvature="nystrom").provenance["memory"]["estimate"]
    block = max(score(model, batch).parameters)
    assert estimate["products"] == 4 * 64 * block + 8 * sum(p.numel() for p in model.parameters())
    wide = copy.deepcopy(model).double()
    assert score(wide, batch, curvature="nystrom").provenance["memory"]["estimate"]["products"] == 8 * 64 * block
    with pytest.raises(ScoringError, match=r"for the vectors of the largest block and, .* a one-pass surrogate"):
        score(tiny_llama(hidden=128, vocabulary=23), batch, curvature="ggn", memory="40MB")


def test_what_a_surrogate_keeps_counts(model, batch):
    memory = score(model, batch, curvature="diagonal-fisher").provenance["memory"]
    assert memory["estimate"]["statistics"] == 16 * sum(score(model, batch).parameters)


@pytest.mark.parametrize(
    ("size", "expected"), [("2GB", 2 * 10**9), ("1.5 kib", 1536), ("7", 7), (None, None), (12, 12), ("500m", 5 * 10**8)]
)
def test_sizes(size, expected):
    assert as_bytes(size) == expected


@pytest.mark.parametrize("size", ["", "two", "1..5GB", "-3", "5XB"])
def test_sizes_refused(size):
    with pytest.raises(ScoringError, match="memory: expected a size"):
        as_bytes(size)


def test_a_finished_run_returns_what_it_returned(model, batch, cache):
    first = score(model, batch, batch_size=2, cache=True, held_out=batch)
    again = score(model, batch, batch_size=2, cache=True, held_out=batch)
    same(first, again)
    np.testing.assert_array_equal(first.decrease, again.decrease)
    assert dict(again.provenance) == dict(first.provenance)  # the seconds of the first run too: nothing was computed
    same(first, score(model, batch, batch_size=2))
    assert not any((cache / "runs").iterdir())


def test_what_matters_changes_the_key(model, batch, cache):
    score(model, batch, cache=True)
    changed = tiny_llama(hidden=8, vocabulary=23)
    with torch.no_grad():
        changed.model.layers[0].mlp.up_proj.weight[0, 0] += 1e-3
    assert fingerprint(changed) != fingerprint(model)
    other = {"input_ids": (batch["input_ids"] + 1) % 23}
    runs = [
        (changed, batch, {}),
        (model, other, {}),
        (model, batch, {"blocks": "modules"}),
        (model, batch, {"dtype": "float64"}),
        (model, batch, {"batch_size": 3}),
        (model, batch, {"curvature": "gradient"}),
        (model, batch, {"sketch": 3}),
        (model, batch, {"held_out": other}),
    ]
    for number, (network, text, options) in enumerate(runs, start=2):
        score(network, text, cache=True, **options)
        assert len(list((cache / "scores").iterdir())) == number


def test_scores_that_were_touched_are_computed_anew(model, batch, cache):
    first = score(model, batch, cache=True)
    [file] = (cache / "scores").iterdir()
    text = file.read_text()
    gain = repr(first.gain.tolist()[0])
    assert gain in text
    for harm in (text.replace(gain, "0.25"), text[:-9], "[]", "{}"):
        file.write_text(harm)
        same(first, score(model, batch, cache=True))
    assert file.read_text() != "{}"


def test_scores_survive_the_cache_exactly(model, batch, tmp_path):
    scores = score(model, batch)
    keep(tmp_path, "key", scores)
    same(scores, finished(tmp_path, "key"))
    assert finished(tmp_path, "key").names == scores.names
    assert finished(tmp_path, "other") is None


def test_a_matrix_free_run_goes_on_at_the_block_where_it_ended(batch, cache, monkeypatch):
    monkeypatch.setattr(nystrom, "RANK", 2)
    model = tiny_llama(hidden=4, layers=4, vocabulary=23)
    asked = {"curvature": "nystrom", "held_out": batch}
    whole = score(model, batch, **asked)
    enclosure, met = nystrom.Nystrom.enclosure, []

    def watched(self, tau):
        met.append(next(iter(self._block.parameters)))
        if len(met) == 3:
            raise KeyboardInterrupt
        return enclosure(self, tau)

    monkeypatch.setattr(nystrom.Nystrom, "enclosure", watched)
    with pytest.raises(KeyboardInterrupt):
        score(model, batch, cache=True, **asked)
    found = score(model, batch, cache=True, **asked)
    assert met[2] == met[3]  # the third block, once more
    assert len(met) == 5
    for name in ("gain", "low", "high", "decrease", "held_out_decrease", "damping"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


SLOW_RUN = """
import sys, time, torch
from tests.tiny_models import tiny_llama
from zetaplan.scoring import score
from zetaplan.scoring.backward import pair_store as store
whole = store.DiskStore.finish
def finish(self, batch, losses):
    whole(self, batch, losses)
    print("finished", batch, flush=True)
    time.sleep(0.3)
store.DiskStore.finish = finish
ids = torch.randint(0, 23, (6, 12), generator=torch.Generator().manual_seed(0))
scores = score(tiny_llama(hidden=8, vocabulary=23), {"input_ids": ids}, batch_size=1, cache=True)
print("gain", *map(repr, scores.gain.tolist()))
"""


def start():
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", SLOW_RUN], cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_of_two_equal_runs_at_once_the_second_waits(cache):
    runs = [start(), start()]
    lines = [run.communicate(timeout=120)[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert lines[0][-1] == lines[1][-1]
    assert sorted(len(of_run) for of_run in lines) == [1, 7]  # six batches finished, and the gains; or the gains alone


@pytest.mark.slow
def test_a_killed_run_loses_at_most_one_batch(model, batch, cache):
    process = start()
    for line in process.stdout:
        if line.startswith("finished 2"):
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()
    [run] = (cache / "runs").iterdir()
    left = sorted(path.name for path in run.iterdir() if path.name.startswith("batch-"))
    assert left[:3] == [f"batch-{n:06d}" for n in range(3)]
    resumed = start()
    lines = resumed.communicate(timeout=60)[0].split("\n")
    assert [line for line in lines if line.startswith("finished")] == [f"finished {n}" for n in range(len(left), 6)]
    whole = score(model, batch, batch_size=1, memory=TIGHT)
    assert [line for line in lines if line.startswith("gain")] == [f"gain {' '.join(map(repr, whole.gain.tolist()))}"]
    assert not any((cache / "runs").iterdir())
    again = score(model, batch, batch_size=1, cache=True)
    same(again, whole)
