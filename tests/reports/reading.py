"""What is in a report and on its charts, for checks."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np

from zetaplan.plans.plan import Plan
from zetaplan.reports.report import Report, render


class Page(HTMLParser):
    """The tags, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def html(plan: Plan) -> str:
    return render(Report(plan, "plan.json"), "report.html")


def markdown(plan: Plan) -> str:
    return render(Report(plan, "plan.json"), "report.md")


def bars(chart: str, kind: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(chart)  # noqa: S314  our own drawing
    return [rect for rect in root.iter("rect") if rect.get("class") == kind]


def heights(chart: str, kind: str) -> np.ndarray:
    return np.array([float(str(rect.get("height")).rstrip("%")) for rect in bars(chart, kind)])
