"""Execution of a job from one file: score, plan, verify, report, export, apply, evaluate; unchanged steps are skipped.

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
from zetaplan._files import canonical, digest, file_digest, is_there, write
from zetaplan._outputs import Output, begins, claim, of_plan, of_schema, report_files, task_files
from zetaplan._records import Record
from zetaplan.errors import SpecError
from zetaplan.jobs import evaluation, guard, pipelines
from zetaplan.jobs.config import Config, load_config
from zetaplan.jobs.options import ExportOptions
from zetaplan.plans.kinds import kind_of

EVALUATION = begins(rb'\{\s*"model": \{\s*"schema": "zetaplan\.evaluation/')
LEDGER = begins(rb'\{\s*"[^"\n]+": \{\s*"inputs": "[0-9a-f]{64}"')
RECORD = "zetaplan.json"  # written by `zetaplan.models.pruned_folder` to the folder of a pruned model


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
    job = _Job(config, base, base / config.out, progress)
    ledger = _Ledger(job.out / "run.json")
    job.refuse_what_cannot_be_done()
    claim([Output(ledger.path, LEDGER), *job.outputs(ledger.written)], [path, *job.inputs()], force=force)
    try:
        job.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"out = {config.out!r}: cannot make the folder: {error.strerror}; choose another") from error
    if config.scores is None:
        ledger.step("score", job.score_inputs(), [job.scores], job.score)
    ledger.step(
        "plan", {"plan": config.plan.model_dump(), "scores": file_digest(job.scores)}, [job.plan], job.make_plan
    )
    planned = {"plan": file_digest(job.plan)}
    ledger.step("verify", planned, [job.verdict], job.verify)
    if config.report:
        ledger.step("report", planned, [job.out / "report.html", job.out / "report.md"], job.report)
    for number, wanted in enumerate(config.export):
        inputs = {**planned, "model": job.model_id(), "export": wanted.model_dump()}
        ledger.step(f"export {number} to {wanted.to}", inputs, [job.exported(wanted)], partial(job.export, wanted))
    if config.apply is not None:
        ledger.step("apply", job.apply_inputs(), [job.pruned / RECORD], job.apply)
    if config.evaluate is not None:
        ledger.step("evaluate", job.evaluate_inputs(), [job.evaluation], job.evaluate)
        ledger.steps[-1] = replace(ledger.steps[-1], note=guard.note(job.evaluation))
    return tuple(ledger.steps)


@dataclass(frozen=True)
class _Job:
    config: Config
    base: Path
    out: Path
    progress: bool

    @property
    def scores(self) -> Path:
        return self.out / "scores.json" if self.config.scores is None else self.base / self.config.scores

    @property
    def plan(self) -> Path:
        return self.out / "plan.json"

    @property
    def verdict(self) -> Path:
        return self.out / "verdict.json"

    @property
    def evaluation(self) -> Path:
        return self.out / "evaluation.json"

    def refuse_what_cannot_be_done(self) -> None:
        """Raise SpecError for unknown names and missing files of any step, before anything is computed."""
        from zetaplan.models.pruners import find_pruner

        config, files = self.config, [self.exported(wanted) for wanted in self.config.export]
        if twice := next((file for file in files if files.count(file) > 1), None):
            raise SpecError(f"export: two exports have the file {twice.name}; give one of them another `out`")
        if config.apply is not None:
            kind = kind_of(config.plan.kind)
            if kind.counts != "weights":
                raise SpecError(
                    f"apply: expected a plan of weights to remove, plan.kind is {kind.name!r}; remove apply"
                )
            find_pruner(config.apply.method)
            self.texts(config.apply.data)
        if config.evaluate is not None:
            self.texts(config.evaluate.files)
            evaluation.dense_id(config.evaluate, self.seen)

    def exported(self, wanted: ExportOptions) -> Path:
        from zetaplan.exports import format_of

        return self.out / (wanted.out or format_of(wanted.to).FILE)

    def seen(self, name: str) -> str:
        """The path relative to the configuration, or the unchanged name if no such file exists."""
        return str(self.base / name) if is_there(self.base / name) else name

    def inputs(self) -> list[str]:
        """The input files and folders of the job, and names of models."""
        config = self.config
        names = [config.model, *config.score.data, *config.score.held_out]
        names += [config.scores] if config.scores is not None else []
        names += config.apply.data if config.apply else ()
        names += config.evaluate.inputs if config.evaluate else ()
        return [self.seen(name) for name in names]

    def outputs(self, written: set[str]) -> list[Output]:
        """The output files of the job. written : names of files of earlier runs, edited since or not."""
        config, plan = self.config, of_plan(self.config.plan.kind)
        files = [Output(self.plan, plan), Output(self.verdict, of_schema("verdict"))]
        files += [Output(self.scores, of_schema("scores"))] if config.scores is None else []
        files += report_files(self.out / "report.html") if config.report else []
        files += [Output(self.exported(wanted), lambda _: False) for wanted in config.export]
        files += [Output(self.evaluation, EVALUATION)] if config.evaluate else []
        files += task_files(Path(config.evaluate.lm_eval)) if config.evaluate and config.evaluate.lm_eval else []
        return [Output(file.path, partial(_own, written, file.own)) for file in files]

    def model_id(self) -> str:
        from zetaplan.scoring.model.meta_model import fingerprint

        return fingerprint(self.seen(self.config.model))

    def texts(self, names: Sequence[str]) -> dict[str, str]:
        return {name: file_digest(Path(self.seen(name))) for name in names if name != "pydoc"}

    def score_inputs(self) -> dict[str, Any]:
        wanted = self.config.score
        return {"score": _plain(wanted), "model": self.model_id(), "texts": self.texts(wanted.data)}

    def apply_inputs(self) -> dict[str, Any]:
        wanted = self.config.apply
        texts = self.texts(wanted.data) if wanted else {}
        return {"apply": _plain(wanted), "plan": file_digest(self.plan), "model": self.model_id(), "texts": texts}

    def evaluate_inputs(self) -> dict[str, Any]:
        wanted = self.config.evaluate
        texts = self.texts(wanted.files) if wanted else {}
        pruned = self.apply_inputs() if self.config.apply else None
        dense = evaluation.dense_id(wanted, self.seen) if wanted else None
        return {
            "evaluate": _plain(wanted),
            "pruned": pruned,
            "model": self.model_id(),
            "dense": dense,
            "texts": texts,
            "guard": guard.guards(self.config),
        }

    @property
    def pruned(self) -> Path:
        """The folder of the pruned model, named by a digest of its inputs, so that another plan gets another folder."""
        return self.out / f"pruned-{digest(canonical(self.apply_inputs()))[:12]}"

    def score(self) -> None:
        from zetaplan.documents.convert import save_scores

        scores = pipelines.score(self.config.model, self.config.score, progress=self.progress, seen=self.seen)
        if scores is not None:
            save_scores(scores, self.scores)

    def make_plan(self) -> None:
        from zetaplan.documents.convert import load_scores
        from zetaplan.plans.planner import plan

        options = {key: value for key, value in self.config.plan.model_dump().items() if value is not None}
        plan(load_scores(self.scores), **options).save(self.plan)

    def verify(self) -> None:
        verdict = pipelines.verify(self.plan)
        checks = [found.name for found in verdict.checks]
        write(self.verdict, canonical({"schema": "zetaplan.verdict/1", "valid": True, "checks": checks}))

    def report(self) -> None:
        from zetaplan.documents.verify import load_plan
        from zetaplan.reports.report import write_report

        write_report(load_plan(self.plan), self.out / "report.html", file=self.plan.name)

    def export(self, wanted: ExportOptions) -> None:
        from zetaplan.documents.verify import load_plan
        from zetaplan.exports import export

        model = self.seen(self.config.model)
        export(load_plan(self.plan), to=wanted.to, model=model, **wanted.lora).save(self.exported(wanted))

    def apply(self) -> None:
        from zetaplan.documents.verify import load_plan

        wanted, folder = self.config.apply, self.pruned
        if wanted is None or folder.exists():  # folders are written atomically
            return
        plan = load_plan(self.plan)
        pipelines.apply(self.config.model, plan, wanted, folder, progress=self.progress, seen=self.seen)

    def evaluate(self) -> None:
        wanted = self.config.evaluate
        if wanted is None:
            return
        models = {"model": self.config.model} | ({"pruned": str(self.pruned)} if self.config.apply else {})
        facts = {
            name: pipelines.evaluate(source, wanted, progress=self.progress, seen=self.seen)
            for name, source in models.items()
        }
        if guard.guards(self.config):
            uniform = guard.uniform_perplexity(self.config, self.plan, progress=self.progress, seen=self.seen)
            facts["pruned"]["uniform"] = guard.against_uniform(facts["pruned"]["perplexity"], uniform)
        write(self.evaluation, canonical(facts))


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


def _plain(step: Record | None) -> Any:
    return step.model_dump(mode="json") if step else None


def _sums(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: file_digest(file) for file in files if file.is_file()}
