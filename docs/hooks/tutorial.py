"""The notebook of the tutorial as a page: `{{ the tutorial }}` is replaced by its cells and their outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MARK = "{{ the tutorial }}"
NOTEBOOK = Path(__file__).parents[1] / "tutorial.ipynb"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Text as it is, code and output as fenced blocks."""
    if MARK not in markdown:
        return markdown
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return markdown.replace(MARK, "\n\n".join(part for cell in cells for part in _parts(cell)))


def _parts(cell: dict[str, Any]) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    outputs = ["".join(output["text"]) for output in cell["outputs"]]
    return [f"```python\n{source}\n```", *(f"```text\n{text}```" for text in outputs)]
