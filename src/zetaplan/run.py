"""The whole job from one file: score, plan, verify, report, export, apply, evaluate; only what changed runs again.

Beside the results lies run.json: for every step the sha256 of what went in (settings, model, texts, files of earlier
steps, version of zetaplan) and of every file that came out. A step is left out if both are what they were.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zetaplan import __version__
from zetaplan.config import Config, EvaluateStep, ExportStep, load_config
from zetaplan.errors import CertificateError, SpecError
from zetaplan.files import PlanFile, Record, canonical, digest, load, write

if TYPE_CHECKING:
    from zetaplan.scoring import LoadedModel

RECORD = "zetaplan.json"  # what `zetaplan.pruned` writes into the folder of a pruned model


@dataclass(frozen=True)
class Step:
    """A step of a job: the files that it makes, and whether it was run this time."""

    name: str
    files: tuple[Path, ...]
    ran: bool


def run(path: Path, *, progress: bool = False) -> tuple[Step, ...]:
    """Do what the configuration says, as far as it is not done.

    Raises SpecError for a bad configuration, and whatever its steps raise; what was finished before stays finished.
    """
    config, base = load_config(path), path.parent
    job = _Job(config, base, base / config.out, progress)
    job.refuse_what_cannot_be_done()
    try:
        job.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"out = {config.out!r}: cannot make the folder: {error.strerror}; choose another") from error
    ledger = _Ledger(job.out / "run.json")
    if config.scores is None:
        ledger.step("score", job.score_inputs(), [job.scores], job.score)
    ledger.step("plan", {"plan": config.plan.model_dump(), "scores": _sha256(job.scores)}, [job.plan], job.make_plan)
    planned = {"plan": _sha256(job.plan)}
    ledger.step("verify", planned, [job.verdict], job.verify)
    if config.report:
        ledger.step("report", planned, [job.out / "report.html", job.out / "report.md"], job.report)
    for number, wanted in enumerate(config.export):
        inputs = {**planned, "model": job.model_id(), "export": wanted.model_dump()}
        ledger.step(f"export {number} to {wanted.to}", inputs, [job.exported(wanted)], partial(job.export, wanted))
    if config.apply is not None:
        ledger.step("apply", job.apply_inputs(), [job.pruned / RECORD], job.apply)
    if config.evaluate is not None:
        ledger.step("evaluate", job.evaluate_inputs(), [job.out / "evaluation.json"], job.evaluate)
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

    def refuse_what_cannot_be_done(self) -> None:
        """Raise SpecError for what a later step would not know or find, before anything is computed."""
        from zetaplan.pruners import find_pruner

        config, files = self.config, [self.exported(wanted) for wanted in self.config.export]
        if twice := next((file for file in files if files.count(file) > 1), None):
            raise SpecError(f"export: two of them would be written to {twice.name}; give one of them another `out`")
        if config.apply is not None:
            if config.plan.program != "pruning":
                raise SpecError(f"apply: takes plans of pruning, plan.program is {config.plan.program!r}; leave it out")
            find_pruner(config.apply.method)
            self.texts(config.apply.data)
        if config.evaluate is not None:
            self.texts(config.evaluate.files)

    def exported(self, wanted: ExportStep) -> Path:
        from zetaplan.exports import format_of

        return self.out / (wanted.out or format_of(wanted.to).FILE)

    def seen(self, name: str) -> str:
        """A path as seen from the configuration, or the name as it is where nothing lies there."""
        return str(self.base / name) if (self.base / name).exists() else name

    def model_id(self) -> str:
        from zetaplan.scoring.skeleton import fingerprint

        return fingerprint(self.seen(self.config.model))

    def texts(self, names: Sequence[str]) -> dict[str, str]:
        return {name: _sha256(Path(self.seen(name))) for name in names if name != "pydoc"}

    def score_inputs(self) -> dict[str, Any]:
        wanted = self.config.score
        return {"score": _plain(wanted), "model": self.model_id(), "texts": self.texts(wanted.data)}

    def apply_inputs(self) -> dict[str, Any]:
        wanted = self.config.apply
        texts = self.texts(wanted.data) if wanted else {}
        return {"apply": _plain(wanted), "plan": _sha256(self.plan), "model": self.model_id(), "texts": texts}

    def evaluate_inputs(self) -> dict[str, Any]:
        wanted = self.config.evaluate
        texts = self.texts(wanted.files) if wanted else {}
        pruned = self.apply_inputs() if self.config.apply else None
        return {"evaluate": _plain(wanted), "pruned": pruned, "model": self.model_id(), "texts": texts}

    @property
    def pruned(self) -> Path:
        """The folder of the pruned model, by what it is made from: another plan gets another folder."""
        return self.out / f"pruned-{digest(canonical(self.apply_inputs()))[:12]}"

    def score(self) -> None:
        from zetaplan import scoring
        from zetaplan.documents import save_scores

        wanted = self.config.score
        damping = scoring.Damping(value=wanted.damping, mode=wanted.damping_mode, scope=wanted.damping_scope)
        loaded = scoring.load_model(
            self.seen(self.config.model), device=wanted.device, dtype=wanted.dtype, progress=self.progress
        )
        data = [self.seen(name) for name in wanted.data]
        text = scoring.read_sequences(
            data, loaded.tokenizer, sequences=wanted.sequences, length=wanted.length, field=wanted.field
        )
        scores = scoring.score(
            loaded,
            text,
            blocks=wanted.blocks,
            curvature=wanted.curvature,
            damping=damping,
            batch_size=wanted.batch_size,
            progress=self.progress,
        )
        save_scores(scores, self.scores)

    def make_plan(self) -> None:
        from zetaplan import planning
        from zetaplan.documents import load_scores

        options = {key: value for key, value in self.config.plan.model_dump().items() if value is not None}
        planning.plan(load_scores(self.scores), **options).save(self.plan)

    def verify(self) -> None:
        from zetaplan.checking import check

        verdict = check(load(self.plan, PlanFile))
        if not verdict.valid:
            raise CertificateError(f"{self.plan} is refused: {', '.join(found.name for found in verdict.failures)}")
        write(self.verdict, canonical({"valid": True, "checks": [found.name for found in verdict.checks]}))

    def report(self) -> None:
        from zetaplan.checking import load_plan
        from zetaplan.reports import write_report

        write_report(load_plan(self.plan), self.out / "report.html", file=self.plan.name)

    def export(self, wanted: ExportStep) -> None:
        from zetaplan.checking import load_plan
        from zetaplan.exports import export

        export(load_plan(self.plan), to=wanted.to, model=self.seen(self.config.model)).save(self.exported(wanted))

    def apply(self) -> None:
        from zetaplan.applying import apply_pruning
        from zetaplan.checking import load_plan
        from zetaplan.pruned import record, save_pruned
        from zetaplan.pruners import find_pruner
        from zetaplan.scoring import load_model, read_sequences

        wanted, folder = self.config.apply, self.pruned
        if wanted is None or folder.exists():  # folders are made whole or not at all
            return
        plan, loaded = load_plan(self.plan), load_model(self.seen(self.config.model), progress=self.progress)
        text = None
        if find_pruner(wanted.method).calibrated:
            data = [self.seen(name) for name in wanted.data]
            text = read_sequences(
                data, loaded.tokenizer, sequences=wanted.sequences, length=wanted.length, field=wanted.field
            )
        applied = apply_pruning(loaded, plan, wanted.method, text, structure=wanted.structure, progress=self.progress)
        save_pruned(loaded, applied, record(applied, plan, loaded, text), folder)

    def evaluate(self) -> None:
        from zetaplan.scoring import load_model

        wanted = self.config.evaluate
        if wanted is None:
            return
        models = {"model": self.seen(self.config.model)} | ({"pruned": str(self.pruned)} if self.config.apply else {})
        facts = {
            name: self.measured(wanted, load_model(source, progress=self.progress)) for name, source in models.items()
        }
        write(self.out / "evaluation.json", canonical(facts))

    def measured(self, wanted: EvaluateStep, loaded: LoadedModel) -> dict[str, Any]:
        """What `zetaplan evaluate` would say of one model."""
        from zetaplan import evaluation

        facts: dict[str, Any] = {}
        if wanted.text is not None:
            ids = evaluation.read_tokens(self.seen(wanted.text), loaded.tokenizer, field=wanted.field)[: wanted.tokens]
            found = evaluation.perplexity(
                loaded, ids, length=wanted.length, stride=wanted.stride, progress=self.progress
            )
            facts["perplexity"] = evaluation.perplexity_facts(found)
        if wanted.choices is not None:
            items = evaluation.read_items(
                self.seen(wanted.choices), template=wanted.template, limit=wanted.items, field=wanted.field
            )
            answers = evaluation.multiple_choice(loaded, items, progress=self.progress)
            facts["multiple_choice"] = evaluation.answers_facts(answers)
        return facts


@dataclass
class _Ledger:
    """What was done, and from what."""

    path: Path
    steps: list[Step] = field(default_factory=list)

    def step(self, name: str, inputs: Mapping[str, Any], files: Sequence[Path], work: Callable[[], None]) -> None:
        versions = {"zetaplan": __version__, "python": platform.python_version()}
        key, known = digest(canonical({**inputs, **versions})), self._known()
        done = known.get(name) == {"inputs": key, "files": _sums(files)}
        if not done:
            work()
            known[name] = {"inputs": key, "files": _sums(files)}
            write(self.path, canonical(known))
        self.steps.append(Step(name, tuple(files), ran=not done))

    def _known(self) -> dict[str, Any]:
        try:
            value = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}  # nothing was done yet, or nobody can say what
        return value if isinstance(value, dict) else {}


def _plain(step: Record | None) -> Any:
    return step.model_dump(mode="json") if step else None


def _sums(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: _sha256(file) for file in files if file.is_file()}


def _sha256(file: Path) -> str:
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SpecError(f"cannot read {file}: {error.strerror}; check the path") from error
