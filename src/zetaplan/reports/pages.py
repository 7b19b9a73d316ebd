"""Pages from templates: one HTML file that fetches nothing, and the same in Markdown next to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from zetaplan._files import path_of, write
from zetaplan.errors import SpecError

HEX = 12  # digits of a sha256 that name a file in a sentence
HALF = 2  # bytes of a parameter in 16 bits


def write_pages(path: str | os.PathLike[str], template: str, **values: Any) -> tuple[Path, Path]:
    """Write the page as HTML to `path`, and as Markdown to the same path with the suffix .md.

    template : stem of the two templates. Raises SpecError if `path` ends in .md or cannot be written.
    """
    html = path_of(path)
    if html.suffix == ".md":
        raise SpecError(f"out = {html}: expected a name for the HTML file; the Markdown file is written next to it")
    pages = {html: ".html", html.with_suffix(".md"): ".md"}
    texts = {target: rendered(template + suffix, **values) for target, suffix in pages.items()}
    first, second = (write(target, text) for target, text in texts.items())
    return first, second


def rendered(template: str, **values: Any) -> str:
    """The text of a template; all text from files is escaped."""
    environment = Environment(
        loader=PackageLoader("zetaplan.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment.get_template(template).render(**values)


def _cell(value: object) -> str:
    """The value as text, escaped for a cell of a Markdown table."""
    return " ".join(str(value).replace("|", "\\|").split())
