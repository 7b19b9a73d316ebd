"""The built site without a browser: links, anchors, headings, words of images, tables."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.pages.page import Page
from zetaplan.errors import CertificateError
from zetaplan.verification.proofs import proofs
from zetaplan.verification.proofs.proof import Identity

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs (extra docs) is not installed"),
]


def test_no_link_and_no_anchor_is_broken(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = target in pages and (not parts.fragment or unquote(parts.fragment) in pages[target].anchors)
            if not known and not (target.is_file() and target not in pages) and parts.fragment != "__search":
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken
    assert sum(len(page.links) for page in pages.values()) > 500


def test_headings_go_down_one_step_at_a_time(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert page.headings[0] == 1, path
        assert page.headings.count(1) == 1, path
        assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), path


def test_every_figure_has_words_that_tell_its_finding(pages: dict[Path, Page]) -> None:
    """A name alone ("logo", "the dual") tells nothing."""
    figures = {source: alt for page in pages.values() for source, alt in page.alts.items() if "logo" not in source}
    assert len(figures) > 8
    assert not {source: alt for source, alt in figures.items() if len(alt.split()) < 12}


def test_no_page_contains_a_raw_table_row(site: Path, pages: dict[Path, Page]) -> None:
    """Markdown leaves a table whose header and rule differ as a paragraph of bars."""
    assert not {str(path.relative_to(site)): page.raw_rows for path, page in pages.items() if page.raw_rows}
    assert sum(page.tables for page in pages.values()) > 30


@pytest.mark.parametrize(
    "source",
    [
        "| a | b | c |\n|---|---|\n| 1 | 2 | 3 |",
        "a | b\n--|--|--\n1 | 2",
        "text\n| a | b |\n|---|---|\n| 1 | 2 |",
        "| a | $|x|^2$ | c |\n|:---|---:|---|\n| 1 | 2 | 3 |",
    ],
)
def test_a_broken_table_is_seen(source: str) -> None:
    from markdown import markdown

    assert Page(markdown(source, extensions=["tables"])).raw_rows


def test_a_table_and_code_are_no_raw_rows() -> None:
    from markdown import markdown

    table = "| a | b |\n|---|---|\n| 1 | `x | y` |\n\n    | a | b |\n    |---|---|\n\n"
    text = "The sum of\n|x| + |y| and `a | b`, or a || b"
    assert not Page(markdown(table + text, extensions=["tables"])).raw_rows


def test_a_false_step_stops_the_build_and_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    first, *others = proofs()["lemma_1"].steps
    assert isinstance(first, Identity)
    wrong = replace(proofs()["lemma_1"], steps=(replace(first, right=first.right + 1), *others))
    monkeypatch.setitem(proofs(), "lemma_1", wrong)
    with pytest.raises(CertificateError, match=r"proof 'Lemma 1: .*', step 1 \(sympy\): the sides differ by -1"):
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path)))
    assert not list(tmp_path.iterdir())
