"""The built site, its pages, its address from the disk and behind a server, and one browser."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.browser import Browser
from tests.pages.page import Page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly, as the gate builds it, unless the variable ZETAPLAN_SITE names a folder that was built before."""
    if built := os.environ.get("ZETAPLAN_SITE"):
        return Path(built).resolve()
    folder = tmp_path_factory.mktemp("site")
    make = shutil.which("make") or "make"
    subprocess.run([make, ".typing/zetaplan"], cwd=ROOT, check=True, capture_output=True)  # where mkdocstrings looks
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


@pytest.fixture(scope="session", params=["server", "disk"])
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


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
