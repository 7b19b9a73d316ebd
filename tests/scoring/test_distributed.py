"""Several processes, joined by gloo as torchrun joins them: the scores of one, and a clear word when one is lost."""

import signal

import numpy as np
import pytest
import torch

from tests.ranks import results, started
from tests.tiny_models import tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.scoring import Sequences, score_each
from zetaplan.scoring.distributed import Ranks

SURROGATES = ["block-fisher", "diagonal-fisher", "mc-fisher"]

RANK = """
import json, os, sys, torch
from pathlib import Path
from tests.tiny_models import tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.scoring import distributed, score_each
from zetaplan.scoring.backward import pair_store as store
options = json.loads(sys.argv[1])
if options.pop("announce", False):
    whole = store.DiskStore.finish
    def finish(self, batch, losses):
        whole(self, batch, losses)
        print("finished", batch, flush=True)
        if batch == 1:  # rank 1 waits to be killed
            import time; time.sleep(60)
    store.DiskStore.finish = finish
ids = torch.randint(0, 23, (8, 12), generator=torch.Generator().manual_seed(0))
try:
    found = score_each(tiny_llama(layers=4, hidden=8, vocabulary=23), {"input_ids": ids}, distributed=True, **options)
except ScoringError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]  # none where there is no /proc
columns = ("gain", "noise_floor", "standard_error", "cross_fitted", "gradient_norm", "damping")
facts = {name: {c: getattr(s, c).tolist() for c in columns if getattr(s, c) is not None} for name, s in found.items()}
print(json.dumps({"loss": next(iter(found.values())).loss, "threads": threads, **facts}))
"""


def assert_no_thread_is_left(found):
    """A thread of the group that outlives it may let go of a tensor while the interpreter ends, which aborts."""
    assert not [name for name in found["threads"] if "gloo" in name or "tcpstore" in name]


def alone(**options):
    ids = torch.randint(0, 23, (8, 12), generator=torch.Generator().manual_seed(0))
    return score_each(tiny_llama(layers=4, hidden=8, vocabulary=23), {"input_ids": ids}, **options)


def close(found, expected, rtol):
    for name, scores in expected.items():
        for column, values in found[name].items():
            np.testing.assert_allclose(values, getattr(scores, column), rtol=rtol, err_msg=f"{name} {column}")
    assert found["loss"] == pytest.approx(next(iter(expected.values())).loss, rel=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_every_rank_returns_the_scores_of_one_process(size):
    options = {"curvatures": SURROGATES, "batch_size": 2}
    expected = alone(**options)
    for found in results(started(RANK, options, size)):
        close(found, expected, rtol=1e-6)  # float32 has 6e-8 per operation


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"shard": True}, {"sketch": 3}])
def test_shared_weights_and_sketches_change_nothing(options):
    expected = alone(curvatures=["block-fisher"], batch_size=2, **options)  # alone, shard has no effect
    for found in results(started(RANK, {"curvatures": ["block-fisher"], "batch_size": 2, **options}, 2)):
        close(found, expected, rtol=1e-5)
        assert_no_thread_is_left(found)


@pytest.mark.slow
def test_a_lost_rank_is_named_and_the_run_goes_on(tmp_path):
    options = {"curvatures": ["block-fisher"], "batch_size": 1, "cache": True}
    where = {"ZETAPLAN_CACHE": str(tmp_path)}
    first, second = started(RANK, {**options, "announce": True}, 2, **where)
    for line in second.stdout:
        if line.startswith("finished 1"):
            second.send_signal(signal.SIGKILL)
            break
    _, errors = first.communicate(timeout=120)
    second.communicate(timeout=30)
    assert first.returncode == 2
    assert "rank 0: another process of the run is lost or silent" in errors
    assert "start the same command again" in errors
    [run] = (tmp_path / "runs").iterdir()
    kept = {path.name for path in run.iterdir() if path.name.startswith("batch-")}
    assert kept == {f"batch-{n:06d}" for n in (0, 1, 2, 4, 6)}
    expected = alone(curvatures=["block-fisher"], batch_size=1)
    for found in results(started(RANK, options, 2, **where)):
        close(found, expected, rtol=1e-6)
    assert not any((tmp_path / "runs").iterdir())


def test_rounds_give_every_rank_its_blocks_in_step():
    blocks = [["a", "b"], ["c"], ["d"], ["e"]]
    assert list(Ranks(0, 2).rounds(blocks)) == [("a", "c"), ("b", "e"), ("d", None)]
    assert Ranks(1, 2).share(blocks) == [["c"], ["e"]]


@pytest.mark.parametrize(
    ("blocks", "batches", "shard", "message"),
    [
        (2, 8, False, "3 processes for 2 blocks and 8 batches"),
        (8, 2, False, "smaller batch_size"),
        (9, 4, True, "4 ba"),
    ],
)
def test_too_many_ranks_are_refused(blocks, batches, shard, message):
    with pytest.raises(ScoringError, match=message):
        Ranks(0, 3).require(blocks, batches, shard)


@pytest.mark.parametrize("curvature", ["ggn"])
def test_matrix_free_surrogates_need_whole_weights(curvature):
    with pytest.raises(ScoringError, match="shard: ggn needs all weights at once for products with H"):
        alone(curvatures=[curvature], distributed=True, shard=True)


def test_one_batch_per_rank_unless_said_otherwise():
    from zetaplan.scoring.measure import _even_share

    ids = torch.zeros(7, 4, dtype=torch.int64)
    text = Sequences(ids, ids, ids, "", (), "")
    assert _even_share(text, Ranks(0, 3)) == 3
    assert _even_share(text, Ranks()) is None
