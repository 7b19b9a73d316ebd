"""Execution of a job from one file: score, plan, refine, verify, report, export, apply, evaluate.

The file run.json, next to the results, records for every step the sha256 of its inputs (settings, model, texts, files
of earlier steps, versions) and of every output file. A step is skipped if both are unchanged.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from zetaplan import __version__
from zetaplan._files import canonical, digest, file_digest, write
from zetaplan._outputs import Output, begins, claim
from zetaplan.errors import SpecError
from zetaplan.jobs import guard
from zetaplan.jobs.config import load_config
from zetaplan.jobs.job import Job

LEDGER = begins(rb'\{\s*"[^"\n]+": \{\s*"inputs": "[0-9a-f]{64}"')


@dataclass(frozen=True)
class Step:
    """A step of a job: its output files, whether it ran this time, and what its result says of the plan."""

    name: str
    files: tuple[Path, ...]
    ran: bool
    note: str = ""


def run(path: Path, *, progress: bool = False, force: bool = False) -> tuple[Step, ...]:
    """Run every step whose inputs have changed.

    force : overwrite files that this job did not write, except its inputs.

    Raises SpecError for a bad configuration, and the errors of its steps. Results of finished steps are kept.
    """
    config, base = load_config(path), path.parent
    job = Job(config, base, base / config.out, progress)
    ledger = _Ledger(job.out / "run.json")
    job.refuse_what_cannot_be_done()
    outputs = [Output(file.path, partial(_own, ledger.written, file.own)) for file in job.outputs()]
    claim([Output(ledger.path, LEDGER), *outputs], [path, *job.inputs()], force=force)
    try:
        job.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"out = {config.out!r}: cannot make the folder: {error.strerror}; choose another") from error
    _plan(job, ledger)
    planned = {"plan": file_digest(job.plan)}
    ledger.step("verify", planned, [job.verdict], job.verify)
    if config.report:
        ledger.step("report", planned, [job.out / "report.html", job.out / "report.md"], job.report)
    for number, wanted in enumerate(config.export):
        name, work = f"export {number} to {wanted.to}", partial(job.export, wanted)
        ledger.step(name, job.export_inputs(wanted), [job.exported(wanted)], work)
    if config.apply is not None:
        ledger.step("apply", job.apply_inputs(), [job.applied_file], partial(job.apply, config.apply))
    if config.evaluate is not None:
        ledger.step("evaluate", job.evaluate_inputs(), [job.evaluation], job.evaluate)
        ledger.note(guard.note(job.evaluation))
    return tuple(ledger.steps)


def _plan(job: Job, ledger: _Ledger) -> None:
    """The steps up to the plan: by a program from scores, refined by measurements, or both."""
    config = job.config
    if config.plan is not None:
        if config.scores is None:
            ledger.step("score", job.score_inputs(), [job.scores], job.score)
        ledger.step("plan", job.plan_inputs(), [job.start], job.make_plan)
    if config.refine is not None:
        ledger.step("refine", job.refine_inputs(), [job.plan], partial(job.refine, config.refine))
        ledger.note(job.refined_note())


@dataclass
class _Ledger:
    """The finished steps with the digests of their inputs and files, in run.json."""

    path: Path
    steps: list[Step] = field(default_factory=list)

    def step(self, name: str, inputs: Mapping[str, Any], files: Sequence[Path], work: Callable[[], None]) -> None:
        versions = {"zetaplan": __version__, "python": platform.python_version()}
        key, known = digest(canonical({**inputs, **versions})), self._known()
        before = known[name] if isinstance(known.get(name), dict) else {}
        done = (before.get("inputs"), before.get("files")) == (key, _sums(files))
        if not done:
            work()
            written = sorted({*_names(before), *(file.name for file in files)})
            known[name] = {"inputs": key, "files": _sums(files), "written": written}
            write(self.path, canonical(known))
        self.steps.append(Step(name, tuple(files), ran=not done))

    def note(self, text: str) -> None:
        """Add a note to the last step."""
        self.steps[-1] = replace(self.steps[-1], note=text)

    @property
    def written(self) -> set[str]:
        """The names of the files that earlier runs wrote, also under other settings."""
        return {name for step in self._known().values() if isinstance(step, dict) for name in _names(step)}

    def _known(self) -> dict[str, Any]:
        try:
            value = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}  # no step has run yet, or the record is damaged
        return value if isinstance(value, dict) else {}


def _names(step: Mapping[str, Any]) -> set[str]:
    """The names of a step's files in the ledger."""
    lists = (step.get(key) for key in ("files", "written"))
    return {name for names in lists if isinstance(names, dict | list) for name in names if isinstance(name, str)}


def _own(written: set[str], marked: Callable[[Path], bool], path: Path) -> bool:
    return path.name in written or marked(path)


def _sums(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: file_digest(file) for file in files if file.is_file()}
