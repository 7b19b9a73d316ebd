"""The public names by room: `{{ public names }}` on a page is replaced by a reference of all of them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import zetaplan

MARK = "{{ public names }}"
ROOMS = {
    "zetaplan.spec": "Programs",
    "zetaplan.solvers": "Solvers",
    "zetaplan.verification": "Certificates and bounds",
    "zetaplan.scoring": "Scores",
    "zetaplan.errors": "Errors",
    "zetaplan": "Plans, batches and models",
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """One heading for each room, and below it what mkdocstrings is to show."""
    return markdown.replace(MARK, public_names()) if MARK in markdown else markdown


def public_names() -> str:
    names = defaultdict(list)
    for name in zetaplan.__all__:
        home = getattr(zetaplan, name).__module__
        names[next(room for room in ROOMS if home.startswith(room))].append(f"::: {home}.{name}")
    return "\n\n".join(
        "\n".join((f"## {title}", "", *sorted(names[room], key=str.lower))) for room, title in ROOMS.items()
    )
