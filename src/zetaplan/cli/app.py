"""Command line of zetaplan, with one command per file of this folder.

The exit status is 0 for success, 1 for a negative verdict and 2 for bad input (one line on standard error, no
traceback). The file of a command is imported when it is called or listed, and slow modules only when it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zetaplan import __version__
from zetaplan._uncollected import uncollected
from zetaplan.errors import CertificateError, ZetaplanError

NEGATIVE, BAD_INPUT, INTERRUPTED = 1, 2, 130


#: The usage error of click, or of the copy of click that newer versions of typer contain.
UsageError: Any = typer.BadParameter.__base__


#: The commands in the order of the help, each with its example; `zetaplan.cli` has a file for each.
EXAMPLES = {
    "demo": "zetaplan demo --out zetaplan-demo",
    "score": "zetaplan score smollm2 --data pydoc --data notes.txt --out scores.json",
    "allocate": "zetaplan allocate scores.json --mean-rank 8 --step 4 --out plan.json",
    "prune": "zetaplan prune scores.json --sparsity 0.5 --upper 0.8 --out plan.json",
    "choose": "zetaplan choose menu.json --budget 90M --pin lm_head=q8_0 --out plan.json",
    "measure": "zetaplan measure smollm2 --for bits --formats q4_0,q5_0,q8_0 --data notes.txt --out menu.json",
    "quantize": "zetaplan quantize menu.json --bits-per-weight 5.5 --for llama.cpp --out plan.json",
    "refine": "zetaplan refine smollm2 --method wanda --budget 0.5 --data notes.txt --out refined.json",
    "verify": "zetaplan verify plan.json",
    "report": "zetaplan report plan.json --out report.html",
    "regret": "zetaplan regret plan.json --scores other.json",
    "apply": "zetaplan apply smollm2 plan.json --method wanda --data notes.txt -o pruned",
    "calibrate": "zetaplan calibrate smollm2 --method wanda --data notes.txt",
    "evaluate": "zetaplan evaluate pruned --text held-out.txt --length 1024 --stride 512",
    "audit": "zetaplan audit --instances 10000 --jobs 2 --out audit",
    "export": "zetaplan export plan.json --to peft --model smollm2 -o adapter_config.json",
    "run": "zetaplan run examples/lora-ranks.yaml",
    "schema": "zetaplan schema --out docs/schemas",
    "sweep": "zetaplan sweep scores.json --from 1 --to 32 --out sweep.html",
    "list": "zetaplan list surrogates",
}


class Files(Mapping[str, Any]):
    """The commands by name; each is built from its file when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        return _command(name, EXAMPLES[name])

    def __iter__(self) -> Iterator[str]:
        return iter(EXAMPLES)

    def __len__(self) -> int:
        return len(EXAMPLES)


@cache
@uncollected()
def _command(name: str, example: str) -> Any:
    from zetaplan.cli.options import command

    module = vars(import_module(f"zetaplan.cli.{name}"))
    alone = typer.Typer(add_completion=False)
    command(alone, example, name)(module.get(name) or module[f"{name}_"])  # `list_`, for list is a type
    return typer.main.get_command(alone)


class Commands(TyperGroup):
    """Group of commands that prints usage errors and zetaplan errors as one line and sets the exit status."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Files()  # type: ignore[assignment]

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
    """Print the message as one line on standard error, below the bars of what it ended."""
    bars: Any = sys.modules.get("tqdm")  # a process that shows a bar has imported it
    for bar in [*getattr(bars and bars.tqdm, "_instances", ())]:
        bar.close()
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


def main() -> None:
    """Entry point of the command `zetaplan`."""
    app(prog_name="zetaplan")
