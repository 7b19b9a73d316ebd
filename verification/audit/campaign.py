"""Campaigns: many trials in chunks, one file per chunk, so that they run in parallel, in shards and with resumption.

A chunk is a range of instances. Its file does not depend on the process or machine that computes it. A killed campaign
resumes with the chunks that have no file yet. Any rank that finds all chunks adds them up, so no rank waits.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zetaplan.errors import SpecError
from zetaplan.verification.audit.contestants import contestant
from zetaplan.verification.audit.planting import plant
from zetaplan.verification.audit.tally import Tally, total
from zetaplan.verification.audit.trial import judge, truth

SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Campaign:
    """The settings of a campaign; equal campaigns give equal results except for times.

    solvers : name -> n; the solver runs on every n-th instance. instances : number planted. spread : decades of
    quality, least and largest. seed : determines an instance together with its number.
    chunk : instances per file.
    """

    solvers: dict[str, int]
    instances: int
    spread: tuple[float, float]
    seed: int
    chunk: int = 2000

    @classmethod
    def parse(cls, solvers: str, instances: int, spread: str, seed: int) -> Campaign:
        """The campaign of the command-line arguments "exact,clarabel/100" and "0:12".

        Raises SpecError for an unknown solver, an invalid share, and an invalid spread.
        """
        every = dict(_every(word) for word in solvers.split(","))
        for name in every:
            contestant(name)
        if instances < 1:
            raise SpecError(f"instances = {instances}: expected at least 1")
        return cls(every, instances, _spread(spread), seed)

    @property
    def chunks(self) -> range:
        return range(-(-self.instances // self.chunk))

    def trials(self, chunk: int) -> range:
        """The numbers of the instances of a chunk."""
        return range(chunk * self.chunk, min((chunk + 1) * self.chunk, self.instances))

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"spread": list(self.spread)}


def _every(word: str) -> tuple[str, int]:
    name, _, share = word.strip().partition("/")
    if share and not (share.isdecimal() and int(share) > 0):
        raise SpecError(f"solvers: {word!r}: expected NAME or NAME/N, which runs on every N-th instance")
    return name, int(share or 1)


def _spread(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise SpecError(f"spread = {text!r}: expected decades LOW:HIGH, such as 0:12") from None
    if not 0.0 <= low <= high <= 100.0:
        raise SpecError(f"spread = {text!r}: expected 0 <= LOW <= HIGH <= 100")
    return low, high


def run_chunk(campaign: Campaign, chunk: int) -> Tally:
    """Plant the instances of one chunk and run every solver that is due on them."""
    solvers = [(contestant(name), every) for name, every in campaign.solvers.items()]
    tally = Tally()
    for index in campaign.trials(chunk):
        due = [solver for solver, every in solvers if index % every == 0]
        try:
            planted = plant(campaign.seed, index, campaign.spread)
            exact = truth(planted)
        except Exception as failure:  # an instance without a truth is counted as disputed
            tally.dispute(index, f"{type(failure).__name__}: {failure}"[:300])
            continue
        tally.truths["planted" if planted.plan is not None else "computed"] += 1
        for solver in due:
            if solver.suits(planted.instance):
                cell = (solver.name, planted.instance.program.name, int(planted.spread))
                verdict = judge(exact, solver.solve)
                tally.count(cell, index, exact.x.size, verdict, verdict.wrong(solver.strict))
    return tally


def conduct(campaign: Campaign, out: Path, jobs: int = 1, resume: bool = False) -> Iterator[tuple[int, int]]:
    """Run the chunks of this rank and yield (chunks done, chunks in total) of the rank after every chunk.

    Under torchrun (RANK, WORLD_SIZE) the chunks are distributed round-robin. The ranks share `out`, or the files in
    their `out`/chunks are merged afterwards.

    Raises SpecError if `out` contains another campaign, or this one without `resume`.
    """
    _claim(campaign, out, resume)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    mine = [chunk for chunk in campaign.chunks if chunk % world == rank]
    missing = [(campaign, out, chunk) for chunk in mine if not _file(out, chunk).exists()]
    done = len(mine) - len(missing)
    yield done, len(mine)
    os.environ.update(SINGLE)
    with multiprocessing.get_context("spawn").Pool(jobs, _hush) as pool:
        for _ in pool.imap_unordered(_work, missing):
            done += 1
            yield done, len(mine)


def collect(campaign: Campaign, out: Path) -> tuple[Tally, int]:
    """The sum of all finished chunks, and the number of missing ones."""
    there = [chunk for chunk in campaign.chunks if _file(out, chunk).exists()]
    tally = total(_finished(_file(out, chunk)) for chunk in there)
    return tally, len(campaign.chunks) - len(there)


def _finished(path: Path) -> Tally:
    try:
        return Tally.read(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{path} is no chunk of an audit; remove it, and go on with --resume") from error


def _hush() -> None:
    """Leave the terminal to the progress of the audit: some solvers print whatever they are told."""
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)


def _work(task: tuple[Campaign, Path, int]) -> None:
    warnings.simplefilter("ignore")  # the status is counted instead
    campaign, out, chunk = task
    write(_file(out, chunk), json.dumps(run_chunk(campaign, chunk).document()))


def _file(out: Path, chunk: int) -> Path:
    return out / "chunks" / f"{chunk:06d}.json"


def _claim(campaign: Campaign, out: Path, resume: bool) -> None:
    """Create the folder of this campaign, or check that `out` is its folder."""
    try:
        (out / "chunks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"cannot create the folder {out / 'chunks'}: {error.strerror}; choose another --out") from error
    settings, mine = out / "campaign.json", campaign.document()
    if not settings.exists():
        return write(settings, json.dumps(mine, indent=2) + "\n")
    if _stored(settings) != mine:
        raise SpecError(
            f"{out} contains another campaign ({settings}): choose another folder, or the settings of that campaign"
        )
    if not resume and "RANK" not in os.environ:
        raise SpecError(f"{out} already contains this campaign: continue with --resume, or choose another folder")
    return None


def _stored(path: Path) -> Any:
    """What a file holds; nothing where it is no JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def write(path: Path, text: str) -> None:
    """Write a file atomically."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_text(text, "utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SpecError(f"cannot write {path}: {error.strerror}; choose another --out") from error
