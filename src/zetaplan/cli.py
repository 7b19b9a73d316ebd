"""The command line: one command per step, from a model to a plan that is proved and explained.

Exit status 0 is good, 1 a negative verdict, 2 bad input (one line on standard error, no traceback). What takes long to
import is imported by the command that needs it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from zetaplan import __version__
from zetaplan.cli_apply import apply
from zetaplan.cli_audit import audit
from zetaplan.cli_calibrate import calibrate
from zetaplan.cli_evaluate import evaluate
from zetaplan.cli_export import export
from zetaplan.cli_regret import regret
from zetaplan.cli_run import run, schema
from zetaplan.cli_sweep import sweep
from zetaplan.errors import CertificateError, ScoringError, SpecError, ZetaplanError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from zetaplan.planning import Plan
    from zetaplan.scoring import Scores

NEGATIVE, BAD_INPUT, INTERRUPTED = 1, 2, 130


class Commands(TyperGroup):
    """The commands, with zetaplan's errors as one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ZetaplanError as error:
            typer.echo(f"zetaplan: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(NEGATIVE if isinstance(error, CertificateError) else BAD_INPUT) from error
        except KeyboardInterrupt:
            typer.echo("zetaplan: interrupted; files are written whole or not at all", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """How much for each layer? Capacity and sparsity plans for language models, with a proof."""


Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
ScoresPath = Annotated[Path, typer.Argument(metavar="SCORES", help="A file written by `zetaplan score`.")]
PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="A file written by `allocate` or `prune`.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the plan is written.")]
Gain = Annotated[
    Literal["raw", "net", "unbiased"],
    typer.Option(help="The gain as measured, net of its noise floor, or cross-fitted so that noise cancels."),
]
Drift = Annotated[
    float, typer.Option(help="A share of every gain: what the plan can lose if every gain moves by it is proved.")
]
Lower = Annotated[float, typer.Option(help="The least that every layer gets.")]
Floors = Annotated[
    list[str] | None, typer.Option("--floor", metavar="NAME=VALUE", help="The least for some layers; repeatable.")
]
Caps = Annotated[
    list[str] | None, typer.Option("--cap", metavar="NAME=VALUE", help="The most for some layers; repeatable.")
]
Pins = Annotated[
    list[str] | None,
    typer.Option(
        "--pin", metavar="NAME=VALUE", help="A value that is settled; * in a name stands for any; repeatable."
    ),
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME,NAME", help="Blocks that share one value; repeatable."),
]


@app.command(epilog="Example: zetaplan demo --out zetaplan-demo")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for scores, plans and reports.")] = Path(
        "zetaplan-demo"
    ),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole job on SmolLM2-135M and Python's own help texts: score, allocate, prune, certify, report."""
    _tell("scoring 30 layers of SmolLM2-135M on 32 sequences (about a minute; longer the first time)", quiet or as_json)
    from zetaplan.demo import demonstrate

    done = demonstrate(out, progress=not (quiet or as_json))
    plans = {plan.instance.program.name: plan for plan in (done.allocation, done.pruning)}
    facts = {
        "valid": all(plan.certificate.valid for plan in plans.values()),
        "files": [str(file) for file in done.files],
        "plans": {
            name: dict(zip(plan.names, plan.rounded.units.tolist(), strict=True)) for name, plan in plans.items()
        },
    }
    from zetaplan.tables import plans_table

    _show(json.dumps(facts, indent=2), plans_table(list(plans.values())), as_json, quiet)
    for plan in plans.values():
        _tell(_summary(plan), quiet or as_json)
    _tell("\n".join(["written:", *(f"  {file}" for file in done.files)]), quiet or as_json)


@app.command(epilog="Example: zetaplan score smollm2 --data pydoc --data notes.txt --out scores.json")
def score(
    model: Annotated[
        str, typer.Argument(help="A folder with safetensors, a .gguf file, a hub name in the local cache, or smollm2.")
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(help="A text, or records; repeatable. 'pydoc', the default: Python's own help texts."),
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="The field of a record that holds its text; text, ctx or sentence1 if not given.")
    ] = None,
    sequences: Annotated[int, typer.Option(help="How many sequences are scored.")] = 32,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 128,
    blocks: Annotated[Literal["layers", "modules"], typer.Option(help="Decoder layers, or each linear.")] = "layers",
    curvature: Annotated[
        str, typer.Option(help="The surrogate of the curvature; an unknown name lists all.")
    ] = "block-fisher",
    damping: Annotated[float, typer.Option(help="Damping, above 0.")] = 1.0,
    damping_mode: Annotated[
        Literal["relative", "absolute"], typer.Option(help="Relative to the mean curvature, or tau itself.")
    ] = "relative",
    damping_scope: Annotated[
        Literal["global", "block"], typer.Option(help="One tau for all blocks, or one for each.")
    ] = "global",
    width: Annotated[
        float, typer.Option(help="Relative width of the enclosure at which ggn, hessian and token-fisher stop.")
    ] = 1e-3,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float64; as stored if not given.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences per pass; all at once if not given.")] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory beyond the plain pass, as 2GB; what does not fit waits on the disk.")
    ] = None,
    sketch: Annotated[
        int | None, typer.Option(help="Random projections to so many dimensions, with the error that they cause.")
    ] = None,
    cache: Annotated[
        bool, typer.Option(help="Remember scores by content, and batches so that a killed run goes on.")
    ] = True,
    shard: Annotated[bool, typer.Option("--shard", help="Under torchrun: share the weights among the ranks.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Take each block's step; measure the loss here and on held-out text.")
    ] = False,
    held_out: Annotated[
        list[str] | None, typer.Option(help="The held-out text; if not given, sequences between the scored ones.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the scores are written.")] = Path("scores.json"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the curvature-adjusted gain of every layer, with its noise floor and standard error."""
    from zetaplan import scoring
    from zetaplan.documents import save_scores, scores_document
    from zetaplan.scoring.distributed import place_of_this_process
    from zetaplan.scoring.records import holds_records
    from zetaplan.tables import scores_table

    chosen = scoring.Damping(value=damping, mode=damping_mode, scope=damping_scope)
    device, writes = place_of_this_process(device)
    _require_device(device)
    progress = writes and not (quiet or as_json)
    loaded = scoring.load_model(model, device="cpu" if shard else device, dtype=dtype, progress=progress)
    text = scoring.read_sequences(data or ["pydoc"], loaded.tokenizer, sequences=sequences, length=length, field=field)
    fresh = None
    if check or held_out:
        read = scoring.read_sequences if held_out else scoring.sequences_between
        source = held_out or data or ["pydoc"]
        named = field if any(map(holds_records, source)) else None
        fresh = read(source, loaded.tokenizer, sequences=sequences, length=length, field=named)
    scores = scoring.score(
        loaded,
        text,
        held_out=fresh,
        blocks=blocks,
        curvature=curvature,
        damping=chosen,
        width=width,
        batch_size=batch_size,
        memory=memory,
        sketch=sketch,
        cache=cache,
        device=device,
        distributed=True,
        shard=shard,
        progress=progress,
    )
    if not writes:
        return
    save_scores(scores, out)
    _show(scores_document(scores).text(), scores_table(scores), as_json, quiet)
    from zetaplan.planning import prediction_note, ranking_warning

    found = (ranking_warning(scores), prediction_note(scores), _sketch_note(scores))
    notes = [f"note: {note}" for note in found if note]
    _tell("\n".join([*notes, f"scores of {len(scores.names)} {blocks} written to {out}"]), quiet or as_json)


@app.command(epilog="Example: zetaplan allocate scores.json --mean-rank 8 --step 4 --out plan.json")
def allocate(
    scores: ScoresPath,
    budget: Annotated[str | None, typer.Option(help="Parameters to spend, or '2%' of those that were scored.")] = None,
    mean_rank: Annotated[
        float | None, typer.Option(help="Or: what this rank on every layer costs (8 if neither is given).")
    ] = None,
    beta: Annotated[float, typer.Option(help="Curvature emphasis: the exponent on quality.")] = 1.0,
    alpha: Annotated[float, typer.Option(help="Price of a parameter in the objective; 0: the budget binds.")] = 0.0,
    gamma: Annotated[float, typer.Option(help="Strength of the benefit; cancels while the budget binds.")] = 1.0,
    lower: Lower = 0.0,
    upper: Annotated[float, typer.Option(help="The most that a layer gets.")] = math.inf,
    floor: Floors = None,
    cap: Caps = None,
    pin: Pins = None,
    group: Groups = None,
    expert_rank: Annotated[int | None, typer.Option(help="Plan LoRA experts of this rank instead of ranks.")] = None,
    top_k: Annotated[int, typer.Option(help="Experts that a token is sent to, where experts are planned.")] = 2,
    gain: Gain = "raw",
    drift: Drift = 0.1,
    step: Annotated[int, typer.Option("--step", "--multiple-of", help="Whole ranks are multiples of this.")] = 1,
    out: Out = Path("plan.json"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Divide a budget of parameters over the layers as LoRA rank, prove the plan, and round it to whole ranks."""
    from zetaplan import planning
    from zetaplan.documents import load_scores

    plan = planning.allocate(
        load_scores(scores),
        budget=budget,
        mean_rank=mean_rank,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        **_wishes(lower, upper, floor, cap, pin, group),
        expert_rank=expert_rank,
        top_k=top_k,
        gain=gain,
        drift=drift,
        step=step,
    )
    _deliver(plan, out, as_json, quiet)


@app.command(epilog="Example: zetaplan prune scores.json --sparsity 0.5 --upper 0.8 --out plan.json")
def prune(
    scores: ScoresPath,
    sparsity: Annotated[
        float | None, typer.Option(help="Share of all linear weights to remove (0.5 if neither is given).")
    ] = None,
    target: Annotated[float | None, typer.Option(help="Or: how many weights to remove.")] = None,
    kappa: Annotated[float, typer.Option(help="Curvature emphasis: the exponent on quality.")] = 1.0,
    bits: Annotated[float, typer.Option(help="Reward per removed weight; 0: the target binds.")] = 0.0,
    eta: Annotated[float, typer.Option(help="Strength of the penalty; cancels while the target binds.")] = 1.0,
    lower: Lower = 0.0,
    upper: Annotated[float, typer.Option(help="The largest share that any layer may lose.")] = 1.0,
    floor: Floors = None,
    cap: Caps = None,
    pin: Pins = None,
    group: Groups = None,
    gain: Gain = "raw",
    drift: Drift = 0.1,
    out: Out = Path("plan.json"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Divide the weights to remove over the layers as sparsity, and prove the plan optimal."""
    from zetaplan import planning
    from zetaplan.documents import load_scores

    plan = planning.prune(
        load_scores(scores),
        sparsity=sparsity,
        target=target,
        bits=bits,
        eta=eta,
        kappa=kappa,
        **_wishes(lower, upper, floor, cap, pin, group),
        gain=gain,
        drift=drift,
    )
    _deliver(plan, out, as_json, quiet)


@app.command(epilog="Example: zetaplan verify plan.json")
def verify(plan: PlanPath, as_json: Json = False, quiet: Quiet = False) -> None:
    """Derive everything in a plan anew from its own data; exit 1 and name what fails if a number was changed."""
    from dataclasses import asdict

    from zetaplan.checking import check
    from zetaplan.files import PlanFile, load
    from zetaplan.tables import verdict_table

    verdict = check(load(plan, PlanFile))
    facts = {"plan": str(plan), "valid": verdict.valid, "checks": [asdict(found) for found in verdict.checks]}
    _show(json.dumps(facts, indent=2), verdict_table(verdict), as_json, quiet)
    if not verdict.valid:
        raise CertificateError(f"{plan} is refused: {', '.join(failure.name for failure in verdict.failures)}")
    _tell(f"{plan} holds: proved optimal for its program, in fractions too; nothing was changed", quiet or as_json)


@app.command(epilog="Example: zetaplan report plan.json --out report.html")
def report(
    plan: PlanPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file; Markdown is written beside it.")] = Path(
        "report.html"
    ),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Explain a plan in one self-contained HTML file and one Markdown file; a plan that fails `verify` is refused."""
    from zetaplan.checking import load_plan
    from zetaplan.reports import write_report

    html, markdown = write_report(load_plan(plan), out, file=plan.name)
    _show(json.dumps({"html": str(html), "markdown": str(markdown)}, indent=2), None, as_json, quiet)
    _tell(f"written: {html}, {markdown}", quiet or as_json)


app.command(epilog="Example: zetaplan regret plan.json --scores other.json")(regret)
app.command(epilog="Example: zetaplan apply smollm2 plan.json --method wanda --data notes.txt -o pruned")(apply)
app.command(epilog="Example: zetaplan calibrate smollm2 --method wanda --data notes.txt")(calibrate)
app.command(epilog="Example: zetaplan evaluate pruned --text held-out.txt --length 1024 --stride 512")(evaluate)
app.command(epilog="Example: zetaplan audit --instances 10000 --jobs 2 --out audit")(audit)
app.command(epilog="Example: zetaplan export plan.json --to peft --model smollm2 -o adapter_config.json")(export)
app.command(epilog="Example: zetaplan run examples/lora-ranks.yaml")(run)
app.command(epilog="Example: zetaplan schema --out docs/schemas")(schema)
app.command(epilog="Example: zetaplan sweep scores.json --from 1 --to 32 --out sweep.html")(sweep)


def main() -> None:
    """The entry point of `zetaplan`."""
    app(prog_name="zetaplan")


def _wishes(
    lower: float,
    upper: float,
    floor: list[str] | None,
    cap: list[str] | None,
    pin: list[str] | None,
    group: list[str] | None,
) -> dict[str, Any]:
    """The wishes as `zetaplan.planning` takes them; the bound for every layer goes by the name `*`."""
    return {
        "lower": {"*": lower, **_by_name("floor", floor)} if floor else lower,
        "upper": {"*": upper, **_by_name("cap", cap)} if cap else upper,
        "pins": _by_name("pin", pin),
        "groups": [names.split(",") for names in group or ()],
    }


def _by_name(option: str, texts: list[str] | None) -> dict[str, float]:
    pairs = [text.rpartition("=") for text in texts or ()]
    try:
        return {name: float(value) for name, _, value in pairs}
    except ValueError:
        raise SpecError(f"--{option}: expected NAME=VALUE with a number, got {', '.join(texts or ())}") from None


def _deliver(plan: Plan, out: Path, as_json: bool, quiet: bool) -> None:
    from zetaplan.tables import plan_table

    plan.save(out)
    _show(plan.document().text(), plan_table(plan), as_json, quiet)
    _tell(f"{_summary(plan)}\nwritten to {out}", quiet or as_json)


def _summary(plan: Plan) -> str:
    conditions = len(plan.certificate.conditions)
    lines = [
        f"{plan.instance.program.name}: {len(plan.names)} layers, all {conditions} conditions of optimality hold",
        f"in whole units ({plan.whole_unit}): {plan.rounded.used:,.10g} of {plan.instance.limit:,.10g} "
        f"{plan.resource_unit}, within {plan.rounded.gap:.2g} of the best possible objective",
    ]
    from zetaplan.drift import drift_sentence

    drift = drift_sentence(plan)
    notes = [*plan.warnings, *([drift] if drift else [])]
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def _show(text: str, table: RenderableType | None, as_json: bool, quiet: bool) -> None:
    if as_json:
        typer.echo(text.rstrip("\n"))
    elif table is not None and not quiet:
        from rich.console import Console

        Console().print(table)


def _tell(text: str, silent: bool) -> None:
    if not silent:
        typer.echo(text)


def _sketch_note(scores: Scores) -> str | None:
    sketch = scores.provenance.get("sketch")
    if not sketch:
        return None
    worst = max(sketch["relative_error"])
    return f"gains from sketches of rank {sketch['rank']}: off by {worst:.1%} of themselves at worst (one sigma)"


def _require_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises the one or the other, by build
        raise ScoringError(
            f"device = {device!r}: torch cannot compute there; use cpu, or a device that it sees"
        ) from error
