"""Headless Chromium through the DevTools protocol, over the pipe that it offers: nothing to install but the browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-background-networking",  # what a browser looks up for itself
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> str | None:
    """The browser on this machine, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser, and what happened on it since the last visit."""

    def __init__(self, profile: Path) -> None:
        command, self._to = os.pipe()
        self._from, answer = os.pipe()

        def ends() -> None:  # the browser reads commands from 3 and writes answers to 4
            os.dup2(command, 30)
            os.dup2(answer, 31)
            os.dup2(30, 3)
            os.dup2(31, 4)

        self._process = subprocess.Popen(
            [executable() or "", *OPTIONS, f"--user-data-dir={profile}"],
            preexec_fn=ends,
            close_fds=False,
            stderr=subprocess.DEVNULL,
        )
        os.close(command)
        os.close(answer)
        self._buffer, self._last, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScrollbarsHidden", hidden=True)  # so that a width is the width of the page

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command; events that come meanwhile are kept."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def visit(self, url: str) -> None:
        """Open a page and wait until it and what it starts by itself are done."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")
        self.call("Runtime.evaluate", expression="new Promise(r => setTimeout(r, 150))", awaitPromise=True)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression on the page, as if the reader had asked for it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def show(self, width: int, scheme: str) -> None:
        """Give the page this width, the reader's system this colour scheme, and every transition its end."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.evaluate("document.getAnimations().filter(a => a.transitionProperty).forEach(a => a.finish())")

    def until(self, condition: str, seconds: float = 60.0) -> None:
        """Wait until a condition holds on the page."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.05)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._from, 1 << 16)
            assert part, "the browser ended"
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message
