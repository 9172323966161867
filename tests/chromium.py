"""Drive a page in headless Chromium through its own protocol, over two pipes, without a driver."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

INSTALL = "apt-get install -y --no-install-recommends chromium"
PATIENCE = 60.0  # seconds for any answer
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """The browser; a test without it fails with the line that installs it."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    assert found, f"no Chromium to open the viewer in: {INSTALL}"
    return found


class Page:
    """One page in a browser of its own: `with Page(path, profile) as page`.

    Attributes:
        problems: what the page logged as an error, and exceptions that it did not catch.
        requests: addresses that it asked for.
    """

    def __init__(self, path: Path, profile: Path, *, size: tuple[int, int] = (1000, 700)) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._rest = b""
        self._target: str | None = None
        read_commands, self._commands = os.pipe()
        self._events, write_events = os.pipe()
        arguments = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--mute-audio"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}"),
            *(f"--window-size={size[0]},{size[1]}", "--hide-scrollbars", "about:blank"),
        ]
        # The protocol's pipes are the numbers 3 and 4 of the browser.
        redirected = f'exec "$0" "$@" 3<&{read_commands} 4>&{write_events}'
        self._process = subprocess.Popen(
            ["bash", "-c", redirected, find_chromium(), *arguments],
            pass_fds=(read_commands, write_events),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_events)
        self._open(path)

    def __enter__(self) -> "Page":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._commands)
        os.close(self._events)

    def _open(self, path: Path) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._target = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("document.readyState === 'complete'")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._target:
            message["sessionId"] = self._target
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while number not in self._answers:
            self._listen(deadline, method)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _listen(self, deadline: float, method: str) -> None:
        ready, _, _ = select.select([self._events], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"no answer to {method} within {PATIENCE} s"
        received = os.read(self._events, 1 << 20)
        assert received, "the browser has ended"
        *messages, self._rest = (self._rest + received).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message["params"])

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression in the page is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        frames = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
        self.evaluate(f"{frames}.then(() => 1)")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """A mouse event: "mousePressed", "mouseMoved", "mouseReleased" or "mouseWheel"."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the left button, move, release."""
        self.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1)
        self.mouse("mouseMoved", *end, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)
        self.settle()

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """A touch event: "touchStart", "touchMove" or "touchEnd" with the fingers that are down."""
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.send("Input.dispatchTouchEvent", type=kind, touchPoints=fingers)

    def screenshot(self, path: Path) -> Path:
        """A picture of the page as PNG."""
        data = self.send("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))
        return path
