"""The built site as a reader meets it: links, and in headless Chromium errors, requests, widths, schemes, search."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import itertools
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.pages.browser import Browser, executable
from zetaplan.errors import CertificateError
from zetaplan.verification.proofs import proofs
from zetaplan.verification.proofs.proof import Identity

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs (extra docs) is not installed"),
]
in_browser = pytest.mark.skipif(executable() is None, reason="no Chromium on this machine, so no page is opened")


VERBATIM = {"code", "pre", "math", "script", "style"}  # where a bar is a bar
RAW_ROW = re.compile(r"(^|\s)\|(\s|$)|\|\s*:?--|--:?\s*\|")  # a bar on its own, or a rule; |x| is neither


class Page(HTMLParser):
    """Links, anchors, headings, images and raw table rows of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.headings: list[int] = []
        self.unnamed: list[str] = []
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
        if tag == "img" and not found.get("alt"):
            self.unnamed.append(found.get("src") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly, as the gate builds it."""
    folder = tmp_path_factory.mktemp("site")
    make = shutil.which("make") or "make"
    subprocess.run([make, ".typing/zetaplan"], cwd=ROOT, check=True, capture_output=True)  # where mkdocstrings looks
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


@pytest.fixture(scope="module", params=["server", "disk"])
def address(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    """Where the site is: behind a server, or in a folder, as `make docs` leaves it."""
    if request.param == "disk":
        yield site.as_uri()
        return

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


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


def test_headings_go_down_one_step_at_a_time_and_images_have_words(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert page.headings[0] == 1, path
        assert page.headings.count(1) == 1, path
        assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), path
        assert not page.unnamed, path


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


@in_browser
def test_every_page_opens_without_error_and_asks_nobody_else(
    site: Path, pages: dict[Path, Page], address: str, browser: Browser
) -> None:
    for width, scheme in ((1280, "light"), (320, "dark")):  # 320: the least of WCAG 2, 1.4.10
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for path in pages:
            where = f"{path.relative_to(site)} at {width} in {scheme}"
            browser.visit(f"{address}/{path.relative_to(site)}")
            assert not list(troubles(browser, address)), where
            assert browser.evaluate("document.documentElement.scrollWidth") <= width, where
            shown = browser.evaluate("document.body.getAttribute('data-md-color-scheme')")
            assert shown in (None, {"light": "default", "dark": "slate"}[scheme]), where  # none: a report on its own
            flat = "[...document.querySelectorAll('math')].filter(m => m.getBoundingClientRect().height < 4).length"
            assert browser.evaluate(flat) == 0, where


def troubles(browser: Browser, address: str) -> Iterator[str]:
    """Errors, failed requests and requests to another host since the page was opened."""
    for event in browser.events:
        params = event["params"]
        if "favicon.ico" in str(params):  # the browser asks for one of its own accord
            continue
        match event["method"]:
            case "Runtime.exceptionThrown":
                yield str(params["exceptionDetails"])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                yield params["entry"]["text"]
            case "Network.loadingFailed" if not params.get("canceled"):
                yield params["errorText"]
            case "Network.responseReceived" if params["response"]["status"] >= 400:
                yield params["response"]["url"]
            case "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith((address, "data:", "blob:")):
                    yield url


@in_browser
def test_search_finds_water_filling(address: str, browser: Browser) -> None:
    browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
    browser.visit(f"{address}/index.html")
    browser.evaluate(TYPE % "water-filling")
    browser.until("document.querySelectorAll('.md-search-result__item').length > 0")
    assert "ater" in browser.evaluate("document.querySelector('.md-search-result__item').innerText")


@in_browser
def test_text_stands_out_from_its_ground(address: str, browser: Browser) -> None:
    """The contrast of text, links and code by the formula of WCAG 2: at least 4.5, and 3 where it is large."""
    for scheme, name in itertools.product(("light", "dark"), ("index", "gain", "reference")):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.visit(f"{address}/{name}.html")
        inks = browser.evaluate(INKS)
        assert len(inks) > 5
        for what, ink, ground, body, size in inks:
            under = over(ground, body)
            lighter, darker = sorted((luminance(under), luminance(over(ink, under))), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= (3.0 if size >= 24 else 4.5), (scheme, name, what)


TYPE = """(field => { field.focus(); field.value = '%s';
  for (const kind of ['input', 'keyup']) field.dispatchEvent(new Event(kind, {bubbles: true})) }
)(document.querySelector('.md-search__input'))"""
INKS = """(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number), found = {};
  for (const element of document.querySelectorAll('article :not(.headerlink)')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    let under = element;
    while (numbers(getComputedStyle(under).backgroundColor)[3] === 0) under = under.parentElement || document.body;
    const style = getComputedStyle(element), ground = getComputedStyle(under).backgroundColor;
    const what = [element.tagName, style.color, ground, style.fontSize].join(' ');
    found[what] = [what, numbers(style.color), numbers(ground),
      numbers(getComputedStyle(document.body).backgroundColor), parseFloat(style.fontSize)];
  }
  return Object.values(found);
})()"""


def over(ink: list[float], ground: list[float]) -> list[float]:
    """A colour with transparency on its ground."""
    share = ink[3] if len(ink) > 3 else 1.0
    return [share * a + (1 - share) * b for a, b in zip(ink[:3], ground[:3], strict=True)]


def luminance(colour: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
