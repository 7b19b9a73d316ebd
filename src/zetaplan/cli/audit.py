"""Command `zetaplan audit`: tests claims of optimality by solvers, and the optimality of a published plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zetaplan._digits import percent
from zetaplan._outputs import Output, begins, claim, of_schema
from zetaplan._plural import counted
from zetaplan.cli.options import Force
from zetaplan.errors import CertificateError, SpecError

if TYPE_CHECKING:
    from zetaplan.verification.audit.campaign import Campaign
    from zetaplan.verification.audit.published import PlanAudit
    from zetaplan.verification.audit.tally import Tally


def audit(
    solvers: Annotated[
        str,
        typer.Option(help="Solvers to test: exact, bisection, or any cvxpy solver; NAME/N tests every N-th instance."),
    ] = "exact,bisection,clarabel/10,scs/10,osqp/10",
    instances: Annotated[int, typer.Option(help="Number of instances with a known optimum.")] = 10_000,
    spread: Annotated[str, typer.Option(help="Range of the spread of quality in decades, LOW:HIGH.")] = "0:12",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random instances.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for chunks, audit.json and audit.html.")] = Path(
        "audit"
    ),
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted audit.")] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Published plan to audit instead of solvers: sparsity, experts per layer, or bits (a .gguf file, "
            "types of llama-quantize, dynamic of GPTQModel, config_groups, EvoPress, exllamav3).",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of a bit plan, for its shapes and names; its config is enough.")
    ] = None,
    menu: Annotated[
        Path | None, typer.Option(help="Menu of formats of that model, for the distance of the plan from the best one.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--for", help="Runtime whose rules apply; the one that reads the file if not given.")
    ] = None,
    rest: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Format of the matrices that a bit plan does not name.")
    ] = None,
    group: Annotated[
        int, typer.Option(min=1, max=10**6, help="Columns that share a scale, if a bit plan does not state it.")
    ] = 128,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Test solvers on instances with a known optimum, or audit a published plan (--plan).

    Exit 1 if the solver `exact` is ever wrong, or if the plan fails a check. Under torchrun the ranks share the
    instances, and the last rank to finish writes the report.
    """
    if plan is not None:
        if not _bits(plan, model, menu, runtime, rest, group, as_json, quiet):
            _published(plan, as_json, quiet)
        return
    for option, value in {"--model": model, "--menu": menu, "--for": runtime, "--rest": rest}.items():
        if value is not None:
            raise SpecError(f"{option} belongs to the audit of a bit plan; give --plan FILE too")
    from zetaplan.verification.audit.campaign import Campaign, collect, conduct
    from zetaplan.verification.audit.report import publish

    campaign = Campaign.parse(solvers, instances, spread, seed)
    claim(_outputs(out), [], force=force)
    _follow(conduct(campaign, out, jobs, resume), campaign, quiet or as_json)
    tally, missing = collect(campaign, out)
    if missing:
        typer.echo(
            f"{counted(missing, 'chunk')} still missing from other ranks; the last rank writes the report", err=True
        )
        return
    files = publish(campaign, tally, out)
    _tell_counts(campaign, tally, files, as_json, quiet)
    if broken := _broken(tally):
        raise CertificateError(f"the audit in {out} is negative: {broken}")


def _outputs(folder: Path) -> list[Output]:
    """The files that the campaign writes; its first chunk represents all chunks."""
    own = {
        "campaign.json": begins(rb'\{\s*"solvers": \{'),
        "audit.json": of_schema("audit"),
        "audit.html": begins(b"<!doctype html>.*?<title>Solver audit</title>"),
        "chunks/000000.json": begins(rb"\{"),
    }
    return [Output(folder / name, known) for name, known in own.items()]


def _follow(progress: Iterator[tuple[int, int]], campaign: Campaign, silent: bool) -> None:
    """Run the campaign to its end, with a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("audit"), BarColumn(), MofNCompleteColumn(), TextColumn("chunks"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=silent) as bar:
        task = bar.add_task("audit", total=len(campaign.chunks))
        for done, mine in progress:
            bar.update(task, completed=done, total=mine)


def _tell_counts(campaign: Campaign, tally: Tally, files: tuple[Path, Path], as_json: bool, quiet: bool) -> None:
    from zetaplan.verification.audit.tally import EVENTS

    counts = {solver: {event: tally.sum(solver, event) for event in EVENTS} for solver in campaign.solvers}
    if as_json:
        typer.echo(json.dumps({"solvers": counts, "files": [str(file) for file in files]}, indent=2))
    elif not quiet:
        typer.echo(_verdict(counts, _broken(tally)))
        for solver, count in counts.items():
            words = (
                f"instances {count['asked']:,}, claimed optimal {count['optimal']:,}, of these wrong {count['wrong']:,}"
            )
            typer.echo(f"{solver}: {words}; no solution {count['failed']:,}")
        typer.echo(f"written: {', '.join(map(str, files))}")


def _verdict(counts: dict[str, dict[str, int]], broken: str) -> str:
    """The result on the solver `exact`, and how many claims of the other solvers are wrong."""
    others = sum(count["wrong"] for solver, count in counts.items() if solver != "exact")
    tested = counts.get("exact", {"asked": 0})["asked"]
    verdict = f"negative: {broken}" if broken else f"positive: exact was right on {counted(tested, 'instance')}"
    return f"{verdict}; wrong claims of the other solvers: {others:,}"


def _broken(tally: Tally) -> str:
    """Failures of the solver `exact`, and instances whose known optimum is disputed."""
    counts = {event: tally.sum("exact", event) for event in ("failed", "wrong", "misread")}
    counts["instances without a truth"] = tally.truths["disputed"]
    return ", ".join(f"{event} {count}" for event, count in counts.items() if count)


def _bits(
    path: Path,
    model: str | None,
    menu: Path | None,
    runtime: str | None,
    rest: str | None,
    group: int,
    as_json: bool,
    quiet: bool,
) -> bool:
    """Audit a bit plan; False if the file has another form."""
    from zetaplan.audits.bits import audit_bits
    from zetaplan.audits.words import findings, text
    from zetaplan.documents.choices import load_menu

    options = load_menu(menu) if menu else None
    found = audit_bits(path, model=model, menu=options, runtime=runtime, rest=rest and rest.lower(), group=group)
    if found is None:
        return False
    answers = findings(found)
    if as_json:
        typer.echo(json.dumps({**found.facts(), "findings": [asdict(answer) for answer in answers]}, indent=2))
    elif not quiet:
        typer.echo(text(found))
    if negative := [answer.question for answer in answers if answer.holds is False]:
        raise CertificateError(f"{path}: the answer is no to: {' '.join(negative)}")
    return True


def _published(path: Path, as_json: bool, quiet: bool) -> None:
    from zetaplan.verification.audit.published import audit_plan

    audits = audit_plan(path)
    if as_json:
        typer.echo(json.dumps([asdict(found) for found in audits], indent=2))
    elif not quiet:
        typer.echo("\n\n".join(map(_words, audits)))
    if negative := [found.name for found in audits if found.negative]:
        raise CertificateError(f"refused: {', '.join(negative)}")


def _words(found: PlanAudit) -> str:
    marks = {True: "yes", False: "NO", None: "?"}
    answers = [f"  [{marks[f.holds]}] {f.question} {f.words}" for f in found.findings]
    lines = [f"{found.name}: {found.verdict}", *answers]
    shares = zip(found.least_share, found.largest_share, strict=True)
    lines += ["  shares of quality (of q^kappa or q^beta) for which the plan is optimal, per layer:"]
    lines += [f"    {k:3d}  {percent(low)} .. {percent(high)}" for k, (low, high) in enumerate(shares)]
    return "\n".join(lines)
