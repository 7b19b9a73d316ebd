"""Command line of zetaplan, with one command per file of this folder.

The exit status is 0 for success, 1 for a negative verdict and 2 for bad input (one line on standard error, no
traceback). Each command imports slow modules only when it is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zetaplan import __version__
from zetaplan.cli.allocate import allocate
from zetaplan.cli.apply import apply
from zetaplan.cli.audit import audit
from zetaplan.cli.calibrate import calibrate
from zetaplan.cli.choose import choose
from zetaplan.cli.demo import demo
from zetaplan.cli.evaluate import evaluate
from zetaplan.cli.export import export
from zetaplan.cli.list import list_
from zetaplan.cli.measure import measure
from zetaplan.cli.options import command
from zetaplan.cli.prune import prune
from zetaplan.cli.quantize import quantize
from zetaplan.cli.refine import refine
from zetaplan.cli.regret import regret
from zetaplan.cli.report import report
from zetaplan.cli.run import run
from zetaplan.cli.schema import schema
from zetaplan.cli.score import score
from zetaplan.cli.sweep import sweep
from zetaplan.cli.verify import verify
from zetaplan.errors import CertificateError, ZetaplanError

NEGATIVE, BAD_INPUT, INTERRUPTED = 1, 2, 130


#: The usage error of click, or of the copy of click that newer versions of typer contain.
UsageError: Any = typer.BadParameter.__base__


class Commands(TyperGroup):
    """Group of commands that prints usage errors and zetaplan errors as one line and sets the exit status."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, those that install the completion of shells hidden: the help names one of them."""
        found: list[Any] = super().get_params(ctx)
        for option in found:
            option.hidden = option.hidden or option.name in ("install_completion", "show_completion")
        return found

    def make_context(self, info_name: Any, args: list[str], *more: Any, **settings: Any) -> Any:
        if not args:  # the help is shown
            return super().make_context(info_name, args, *more, **settings)
        with _one_line():
            return super().make_context(info_name, args, *more, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _one_line():
            return super().invoke(ctx)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except ZetaplanError as error:
        _say(str(error))
        raise typer.Exit(NEGATIVE if isinstance(error, CertificateError) else BAD_INPUT) from error
    except UsageError as error:
        path = error.ctx.command_path if error.ctx else "zetaplan"
        _say(f"{error.format_message().rstrip('.')}; see {path} --help")
        raise typer.Exit(BAD_INPUT) from error
    except KeyboardInterrupt:
        _say("interrupted; no file is incomplete")
        raise typer.Exit(INTERRUPTED) from None


def _say(message: str) -> None:
    """Print the message as one line on standard error."""
    typer.echo(f"zetaplan: {' '.join(message.split())}", err=True)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    epilog="Shell completion: zetaplan --install-completion",
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
    """LoRA ranks, sparsity and formats for the layers of a language model, each plan with a proof of optimality."""


command(app, "zetaplan demo --out zetaplan-demo")(demo)
command(app, "zetaplan score smollm2 --data pydoc --data notes.txt --out scores.json")(score)
command(app, "zetaplan allocate scores.json --mean-rank 8 --step 4 --out plan.json")(allocate)
command(app, "zetaplan prune scores.json --sparsity 0.5 --upper 0.8 --out plan.json")(prune)
command(app, "zetaplan choose menu.json --budget 90M --pin lm_head=q8_0 --out plan.json")(choose)
command(app, "zetaplan measure smollm2 --for bits --formats q4_0,q5_0,q8_0 --data notes.txt --out menu.json")(measure)
command(app, "zetaplan quantize menu.json --bits-per-weight 5.5 --for llama.cpp --out plan.json")(quantize)
command(app, "zetaplan refine smollm2 --method wanda --budget 0.5 --data notes.txt --out refined.json")(refine)
command(app, "zetaplan verify plan.json")(verify)
command(app, "zetaplan report plan.json --out report.html")(report)
command(app, "zetaplan regret plan.json --scores other.json")(regret)
command(app, "zetaplan apply smollm2 plan.json --method wanda --data notes.txt -o pruned")(apply)
command(app, "zetaplan calibrate smollm2 --method wanda --data notes.txt")(calibrate)
command(app, "zetaplan evaluate pruned --text held-out.txt --length 1024 --stride 512")(evaluate)
command(app, "zetaplan audit --instances 10000 --jobs 2 --out audit")(audit)
command(app, "zetaplan export plan.json --to peft --model smollm2 -o adapter_config.json")(export)
command(app, "zetaplan run examples/lora-ranks.yaml")(run)
command(app, "zetaplan schema --out docs/schemas")(schema)
command(app, "zetaplan sweep scores.json --from 1 --to 32 --out sweep.html")(sweep)
command(app, "zetaplan list surrogates", name="list")(list_)


def main() -> None:
    """Entry point of the command `zetaplan`."""
    app(prog_name="zetaplan")
