"""Docstrings for the page of the reference: `name : what it is. name : ...` becomes a list of names."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

NAME = r"[A-Za-z_]\w*"
DEFINED = re.compile(rf"(?:^|\n|(?<=[.;] ))({NAME}(?:, {NAME})*) : ")


class Definitions(Extension):
    """Rewrites the docstrings of what mkdocstrings has loaded."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = "\n\n".join(map(listed, obj.docstring.value.split("\n\n")))


def listed(paragraph: str) -> str:
    """The paragraph as a Markdown list, if it begins with a definition."""
    if not DEFINED.match(paragraph):
        return paragraph
    _, *parts = DEFINED.split(paragraph)
    return "\n".join(
        f"- **{names}**: {' '.join(text.split())}" for names, text in zip(parts[::2], parts[1::2], strict=True)
    )
