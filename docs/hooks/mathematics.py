"""Mathematics as MathML, written into the page when it is built: the reader's browser fetches nothing for it."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
PART, BREAK = r"\goodbreak", r"\allowbreak"  # where a narrow page breaks a formula first, and where it may
WIDE = r"\qquad", rf"\quad{PART}"  # what it separates are parts


def on_page_content(content: str, **_: Any) -> str:
    """Replace what the Markdown extension `arithmatex` has marked as a formula."""
    return FORMULA.sub(lambda match: mathml(html.unescape(match[2]), displayed=match[1] == "div"), content)


def mathml(latex: str, displayed: bool) -> str:
    r"""One `math` for each piece between two breaks, in one `span` for each part of a displayed formula."""
    parts = ["<wbr>".join(map(_math, part.split(BREAK))) for part in latex.replace(*WIDE).split(PART)]
    if not displayed:
        return "<wbr>".join(parts)
    spans = " ".join(f"<span>{part}</span>" for part in parts).replace("<math ", '<math displaystyle="true" ')
    return f'<div class="formula">{spans}</div>'


def _math(piece: str) -> str:
    return str(convert("{}" + piece))  # after an empty group a leading sign is set as one between two terms
