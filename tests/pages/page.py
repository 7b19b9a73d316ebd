"""What the HTML of one page holds, for checks without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VERBATIM = {"code", "pre", "math", "script", "style"}  # where a bar is a bar
RAW_ROW = re.compile(r"(^|\s)\|(\s|$)|\|\s*:?--|--:?\s*\|")  # a bar on its own, or a rule; |x| is neither


class Page(HTMLParser):
    """Links, anchors, headings, images and raw table rows of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.headings: list[int] = []
        self.alts: dict[str, str] = {}
        self.raw_rows: list[str] = []
        self.tables = 0
        self._verbatim = 0
        self.feed(text)

    def handle_endtag(self, tag: str) -> None:
        self._verbatim -= tag in VERBATIM

    def handle_data(self, data: str) -> None:
        if not self._verbatim:
            self.raw_rows += filter(RAW_ROW.search, data.splitlines())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._verbatim += tag in VERBATIM
        self.tables += tag == "table"
        self.anchors |= {value for key in ("id", "name") if (value := found.get(key))}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.alts[found.get("src") or ""] = found.get("alt") or ""
