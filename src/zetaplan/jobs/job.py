"""The steps of a job: the inputs that decide whether one runs again, its files, and its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from zetaplan._files import canonical, digest, file_digest, is_there, write
from zetaplan._outputs import Output, begins, of_choice, of_plan, of_schema, report_files, task_files
from zetaplan._records import Record
from zetaplan.errors import SpecError, shown
from zetaplan.jobs import evaluation, guard, pipelines
from zetaplan.jobs.config import Config
from zetaplan.jobs.options import ApplyOptions, ExportOptions, RefineOptions
from zetaplan.jobs.results import RESULTS, decided_by, require_stored, require_takes, require_unstructured
from zetaplan.plans.kinds import kind_of

EVALUATION = begins(rb'\{\s*"model": \{\s*"schema": "zetaplan\.evaluation/')
RECORD = "zetaplan.json"  # written to the folder of every model that a plan was applied to


@dataclass(frozen=True)
class Job:
    """The steps of one configuration. base : the folder of its paths. out : of the results."""

    config: Config
    base: Path
    out: Path
    progress: bool

    @property
    def scores(self) -> Path:
        return self.out / "scores.json" if self.config.scores is None else self.base / self.config.scores

    @property
    def start(self) -> Path:
        """The plan of a program."""
        return self.out / "plan.json"

    @property
    def plan(self) -> Path:
        """The plan that is verified, reported, exported and applied."""
        return self.out / "refined.json" if self.config.refine else self.start

    @property
    def verdict(self) -> Path:
        return self.out / "verdict.json"

    @property
    def evaluation(self) -> Path:
        return self.out / "evaluation.json"

    def refuse_what_cannot_be_done(self) -> None:
        """Raise SpecError for unknown names and missing files of any step, before anything is computed."""
        config, files = self.config, [self.exported(wanted) for wanted in self.config.export]
        if twice := next((file for file in files if files.count(file) > 1), None):
            raise SpecError(f"export: two exports have the file {twice.name}; give one of them another `out`")
        if config.refine is not None:
            self._refuse_refinement(config.refine)
            self._refuse_exports()
        if config.apply is not None:
            self._refuse_application(config.apply)
        if config.evaluate is not None:
            self.texts(config.evaluate.files)
            evaluation.dense_id(config.evaluate, self.seen)

    def _refuse_refinement(self, options: RefineOptions) -> None:
        from zetaplan.jobs.refining import require_options

        require_options(options)
        self.texts([*options.data, *options.held_out])
        if (plan := self.config.plan) and kind_of(plan.kind).counts != "weights":
            raise SpecError(f"refine: expected a plan of weights to remove, plan.kind is {plan.kind!r}; remove refine")

    def _refuse_exports(self) -> None:
        """Exports of a refined plan: what it counts is known before it is made."""
        from zetaplan.exports import counted, require_taken

        for wanted in self.config.export:
            require_taken(wanted.to, counted(self.decides))

    def _refuse_application(self, options: ApplyOptions) -> None:
        from zetaplan.models.checkpoints import find_form
        from zetaplan.models.pruners import find_pruner
        from zetaplan.refining.levels.formats import OPTIONS

        plan, refine = self.config.plan, self.config.refine
        if refine is None and plan is not None and kind_of(plan.kind).counts != "weights":
            raise SpecError(f"apply: expected a plan of weights to remove, plan.kind is {plan.kind!r}; remove apply")
        if self.decides == "sparsity":
            find_pruner(self.applying(options).method)
        find_form(options.to)
        require_stored(self.decides, options)
        if refine is not None:
            require_unstructured(self.decides, options)
        if refine is not None and self.decides == "bits":
            require_takes(options, refine.option or OPTIONS[refine.method])
        self.texts(options.data)

    @property
    def decides(self) -> str:
        """What the plan that is applied decides; a plan of a program that can be applied decides sparsity."""
        return decided_by(self.config.refine.method) if self.config.refine else "sparsity"

    @property
    def result(self) -> str:
        """What the plan makes of the model, in one word."""
        return RESULTS[self.decides]

    def applying(self, options: ApplyOptions) -> ApplyOptions:
        """The options of apply; a refined plan of sparsity is applied by the method that it was refined with."""
        if self.config.refine is None or self.decides != "sparsity":
            return options
        method = self.config.refine.method
        if "method" in options.model_fields_set and options.method != method:
            raise SpecError(f"apply: method = {shown(options.method)}, the plan is refined with {method!r}; remove it")
        return options.model_copy(update={"method": method})

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
        names += [*config.refine.data, *config.refine.held_out] if config.refine else ()
        names += config.apply.data if config.apply else ()
        names += config.evaluate.inputs if config.evaluate else ()
        return [self.seen(name) for name in names]

    def outputs(self) -> list[Output]:
        """The output files of the job."""
        config = self.config
        files = [Output(self.verdict, of_schema("verdict"))]
        files += [Output(self.start, of_plan(config.plan.kind))] if config.plan else []
        files += [Output(self.plan, of_choice)] if config.refine else []
        files += [Output(self.scores, of_schema("scores"))] if config.plan and config.scores is None else []
        files += report_files(self.out / "report.html") if config.report else []
        files += [Output(self.exported(wanted), lambda _: False) for wanted in config.export]
        files += [Output(self.evaluation, EVALUATION)] if config.evaluate else []
        files += task_files(Path(config.evaluate.lm_eval)) if config.evaluate and config.evaluate.lm_eval else []
        return files

    @cached_property
    def model_id(self) -> str:
        """The sha256 of the weights, which are read once."""
        from zetaplan.scoring.model.meta_model import fingerprint

        return fingerprint(self.seen(self.config.model))

    def texts(self, names: Sequence[str]) -> dict[str, str]:
        return {name: file_digest(Path(self.seen(name))) for name in names if name != "pydoc"}

    def score_inputs(self) -> dict[str, Any]:
        wanted = self.config.score
        return {"score": _plain(wanted), "model": self.model_id, "texts": self.texts(wanted.data)}

    def plan_inputs(self) -> dict[str, Any]:
        return {"plan": _plain(self.config.plan), "scores": file_digest(self.scores)}

    def refine_inputs(self) -> dict[str, Any]:
        wanted = self.config.refine
        texts = self.texts([*wanted.data, *wanted.held_out]) if wanted else {}
        start = file_digest(self.start) if self.config.plan else None
        return {"refine": _plain(wanted), "start": start, "model": self.model_id, "texts": texts}

    def export_inputs(self, wanted: ExportOptions) -> dict[str, Any]:
        return {"plan": file_digest(self.plan), "model": self.model_id, "export": wanted.model_dump()}

    def apply_inputs(self) -> dict[str, Any]:
        wanted = self.config.apply
        texts = self.texts(wanted.data) if wanted else {}
        return {"apply": _plain(wanted), "plan": file_digest(self.plan), "model": self.model_id, "texts": texts}

    def evaluate_inputs(self) -> dict[str, Any]:
        wanted = self.config.evaluate
        texts = self.texts(wanted.files) if wanted else {}
        pruned = self.apply_inputs() if self.config.apply else None
        dense = evaluation.dense_id(wanted, self.seen) if wanted else None
        return {
            "evaluate": _plain(wanted),
            "pruned": pruned,
            "model": self.model_id,
            "dense": dense,
            "texts": texts,
            "guard": guard.guards(self.config),
        }

    @cached_property
    def applied(self) -> Path:
        """The changed model, named by a digest of its inputs, so that another plan gets another folder or file."""
        file = self.decides == "bits" and self.config.apply is not None and self.config.apply.to == "gguf"
        return self.out / f"{self.result}-{digest(canonical(self.apply_inputs()))[:12]}{'.gguf' if file else ''}"

    @property
    def applied_file(self) -> Path:
        """The file that tells whether the changed model is there."""
        return self.applied if self.applied.suffix == ".gguf" else self.applied / RECORD

    def score(self) -> None:
        from zetaplan.documents.convert import save_scores

        scores = pipelines.score(self.config.model, self.config.score, progress=self.progress, seen=self.seen)
        if scores is not None:
            save_scores(scores, self.scores)

    def make_plan(self) -> None:
        from zetaplan.documents.convert import load_scores
        from zetaplan.plans.planner import plan

        options = {key: value for key, value in _plain(self.config.plan).items() if value is not None}
        plan(load_scores(self.scores), **options).save(self.start)

    def refine(self, options: RefineOptions) -> None:
        from zetaplan.documents.choices import save_choice

        start = self.start if self.config.plan else None
        plan = pipelines.refine(self.config.model, start, options, progress=self.progress, seen=self.seen)
        if plan is not None:
            save_choice(plan, self.plan)

    def refined_note(self) -> str:
        """The sentence that compares the refined plan with uniform."""
        from zetaplan.documents.choices import load_choice
        from zetaplan.menus.refined import sentence

        return sentence(load_choice(self.plan))

    def verify(self) -> None:
        from zetaplan.documents.plan_files import verified

        checks = [found.name for found in verified(self.plan).checks]
        write(self.verdict, canonical({"schema": "zetaplan.verdict/1", "valid": True, "checks": checks}))

    def report(self) -> None:
        from zetaplan.jobs.reporting import report

        report(self.plan, self.out / "report.html")

    def export(self, wanted: ExportOptions) -> None:
        from zetaplan.documents.plan_files import any_plan
        from zetaplan.exports import APPLIED, export

        listed = self.config.refine is not None and self.decides in APPLIED  # by its own names, without a model
        model = None if listed else self.seen(self.config.model)
        export(any_plan(self.plan), to=wanted.to, model=model, **wanted.lora).save(self.exported(wanted))

    def apply(self, options: ApplyOptions) -> None:
        from zetaplan.documents.plan_files import any_plan

        if self.applied.exists():  # models are written atomically
            return
        wanted, plan = self.applying(options), any_plan(self.plan)
        pipelines.apply(self.config.model, plan, wanted, self.applied, progress=self.progress, seen=self.seen)

    def evaluate(self) -> None:
        wanted = self.config.evaluate
        if wanted is None:
            return
        measure = partial(pipelines.evaluate, options=wanted, progress=self.progress, seen=self.seen)
        facts = {"model": measure(self.config.model)}
        if self.config.apply is not None:
            facts[self.result] = measure(str(self.applied))
        if guard.guards(self.config):
            uniform = guard.uniform_perplexity(self.config, self.plan, progress=self.progress, seen=self.seen)
            facts["pruned"]["uniform"] = guard.against_uniform(facts["pruned"]["perplexity"], uniform)
        write(self.evaluation, canonical(facts))


def _plain(step: Record | None) -> Any:
    return step.model_dump(mode="json") if step else None
