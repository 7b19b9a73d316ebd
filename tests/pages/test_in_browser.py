"""The built site in headless Chromium, from disk and behind a server, on wide and narrow screens, light and dark."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages.browser import Browser, executable
from tests.pages.page import Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs (extra docs) is not installed"),
    pytest.mark.skipif(executable() is None, reason="no Chromium on this machine, so no page is opened"),
]
WIDTHS = (390, 768, 1280)
SCHEMES = {"light": "default", "dark": "slate"}  # of the reader's system, and of the page; a report has none


def test_every_page_at_every_width_in_both_schemes(
    site: Path, pages: dict[Path, Page], address: str, browser: Browser
) -> None:
    """Each page is opened once, and asks nobody else; then it is shown at every width in both schemes."""
    for path in pages:
        name = str(path.relative_to(site))
        browser.visit(f"{address}/{name}")
        assert not list(troubles(browser, address)), name
        for (scheme, theme), width in itertools.product(SCHEMES.items(), WIDTHS):
            browser.show(width, scheme)
            browser.until(f"[null, '{theme}'].includes(document.body.getAttribute('data-md-color-scheme'))")
            seen, where = browser.evaluate(SEEN), f"{name} at {width} in {scheme}"
            assert seen["width"] <= width, where
            assert not seen["faults"], where
            assert not list(faint(browser.evaluate(INKS))), where


def test_the_walk_sees_faults(site: Path, browser: Browser) -> None:
    """Each change breaks one thing that the walk checks."""
    changes = {
        "cut off": "document.querySelector('article pre > code').style.whiteSpace = 'pre'",
        "no copy button": "document.querySelector('.md-code__nav').remove()",
        "a flat formula": "document.body.append(document.createElement('math'))",
        "no neighbour": "document.querySelectorAll('.md-footer__link').forEach(link => link.remove())",
        "a table that does not scroll": """document.querySelectorAll('.md-typeset__scrollwrap')
            .forEach(wrap => { wrap.style.overflow = 'hidden' })""",
    }
    for fault, change in changes.items():
        browser.visit(f"{site.as_uri()}/apply.html")
        browser.show(390, "light")
        assert not browser.evaluate(SEEN)["faults"]
        browser.evaluate(change)
        assert any(found.startswith(fault) for found in browser.evaluate(SEEN)["faults"]), fault
    assert list(faint([["p", [119, 119, 119], [128, 128, 128], [255, 255, 255], 16]]))


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


def test_search_finds_water_filling(address: str, browser: Browser) -> None:
    browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
    browser.visit(f"{address}/index.html")
    browser.evaluate(TYPE % "water-filling")
    browser.until("document.querySelectorAll('.md-search-result__item').length > 0")
    assert "ater" in browser.evaluate("document.querySelector('.md-search-result__item').innerText")


def test_a_copied_session_is_what_a_reader_types(address: str, browser: Browser) -> None:
    browser.visit(f"{address}/how-to/menus.html")
    browser.evaluate("document.addEventListener('copy', event => { window.copied = event.target.value })")
    browser.evaluate(CLICK)
    browser.until("window.copied !== undefined")
    assert browser.evaluate("window.copied") == "zetaplan choose menu.csv --budget 4700 --out plan.json"


def faint(inks: list[Any]) -> Iterator[str]:
    """Texts, links and code below the contrast that WCAG 2 asks for: 4.5, and 3 where they are large."""
    for what, ink, ground, body, size in inks:
        under = over(ground, body)
        lighter, darker = sorted((luminance(under), luminance(over(ink, under))), reverse=True)
        if (lighter + 0.05) / (darker + 0.05) < (3.0 if size >= 24 else 4.5):
            yield what


CLICK = """[...document.querySelectorAll('.language-console')]
  .find(block => block.innerText.includes('choose menu.csv')).querySelector('[data-clipboard-target]').click()"""
TYPE = """(field => { field.focus(); field.value = '%s';
  for (const kind of ['input', 'keyup']) field.dispatchEvent(new Event(kind, {bubbles: true})) }
)(document.querySelector('.md-search__input'))"""
SEEN = """(() => {
  const every = selector => [...document.querySelectorAll(selector)];
  const faults = (word, selector, wrong) =>
    every(selector).filter(wrong).map(e => `${word}: ${e.textContent.trim().slice(0, 60)}`);
  const cut = e => e.scrollWidth > e.clientWidth + 1, article = document.querySelector('article');
  return {
    width: document.documentElement.scrollWidth,
    faults: [
      ...faults('a flat formula', 'math', m => m.getBoundingClientRect().height < 4),
      ...faults('cut off', 'article pre > code', cut),
      ...faults('a table that does not scroll', '.md-typeset__scrollwrap, .scroll',
        e => cut(e) && getComputedStyle(e).overflowX !== 'auto'),
      ...faults('no copy button', 'article .highlight pre', pre => !pre.querySelector('[data-clipboard-target]')),
      ...(article && !every('.md-footer__link').length ? ['no neighbour'] : []),
    ],
  };
})()"""
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
