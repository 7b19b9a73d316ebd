"""Mathematics as MathML, written into the page when it is built: the reader's browser fetches nothing for it."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace what the Markdown extension `arithmatex` has marked as a formula."""
    return FORMULA.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    latex = html.unescape(match[2])
    if match[1] == "span":
        return str(convert(latex))
    return f'<div style="overflow-x: auto; padding: 0.4em 0">{convert(latex, display="block")}</div>'
