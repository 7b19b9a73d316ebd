"""Docstrings for the page of the reference: `name : what it is. name : ...` becomes a list of names."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

NAME = r"[A-Za-z_]\w*"
DEFINED = re.compile(rf"(?:^|\n|(?<=[.;] ))({NAME}(?:, {NAME})*) : ")

#: Formulas of docstrings, which are plain text, in signs: zeta^2 = g'(H + tau I)^-1 g becomes ζ² = gᵀ(H + τ I)⁻¹ g.
SIGNS = {
    r"\bzeta\^2": "ζ²",
    r"\^-1\b": "⁻¹",
    r"\^2\b": "²",
    r"\bg'(?=[\s(H])": "gᵀ",
    r"\btau(?= I\b)": "τ",
    r"\bsum_(?=[jk]\b)": "Σ_",
}


class Definitions(Extension):
    """Rewrites the docstrings of what mkdocstrings has loaded."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = "\n\n".join(map(listed, map(written, obj.docstring.value.split("\n\n"))))


def written(paragraph: str) -> str:
    """The paragraph with Greek letters and raised exponents, as a page shows them; examples stay as they are."""
    if ">>>" in paragraph:
        return paragraph
    for plain, sign in SIGNS.items():
        paragraph = re.sub(plain, sign, paragraph)
    return paragraph


def listed(paragraph: str) -> str:
    """The paragraph as a Markdown list, if it begins with a definition."""
    if not DEFINED.match(paragraph):
        return paragraph
    _, *parts = DEFINED.split(paragraph)
    return "\n".join(
        f"- **{names}**: {' '.join(text.split())}" for names, text in zip(parts[::2], parts[1::2], strict=True)
    )
