"""Chromium under control: a page is opened, looked into, clicked and typed at, over the DevTools protocol on a pair of pipes.

    with Page(path.as_uri()) as page:
        page.click("#play")
        page.until("document.title === 'done'")

Everything that the page asks the network for and every complaint of its console is kept (`requests`, `complaints`). The browser ends with the block.
"""
from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import Any, Self

from programs import PATIENCE
from real.clients.pages import QUIET

_READ, _WRITE = 3, 4  # the descriptors that Chromium takes for its end


class Page:
    """One page in a browser of its own."""

    def __init__(self, url: str) -> None:
        program = shutil.which("chromium")
        assert program is not None, "there is no `chromium`; on Debian: apt-get install chromium"
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._data, self._number = b"", 0
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        there, self._in = os.pipe()
        self._out, back = os.pipe()

        def connect() -> None:
            os.dup2(there, _READ)
            os.dup2(back, _WRITE)

        command = [program, *QUIET, f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe", "--window-size=1200,800", "about:blank"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=connect,
                                         pass_fds=(_READ, _WRITE), env={**os.environ, "HOME": self._profile.name}, start_new_session=True)  # fmt: skip
        os.close(there)
        os.close(back)
        self._session: str | None = None
        try:
            self._begin(url)
        except BaseException:
            self.close()
            raise

    def _begin(self, url: str) -> None:
        target = next(target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        self.until(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    def call(self, method: str, **params: Any) -> Any:
        """One command, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({} if self._session is None else {"sessionId": self._session})
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._event(answer)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def _next(self) -> Any:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._data:
            assert select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))[0], "the browser says nothing"
            more = os.read(self._out, 1 << 16)
            assert more, "the browser is gone"
            self._data += more
        message, _, self._data = self._data.partition(b"\0")
        return json.loads(message)

    def _event(self, event: Any) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until it is true; give its value."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"never: {expression}"
            time.sleep(0.02)
        return value

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def click(self, selector: str, *, across: float = 0.5) -> None:
        """With the mouse, at that part of the element's width."""
        box = self.evaluate(f"(({{x, y, width, height}}) => [x + width * {across}, y + height / 2])(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def key(self, key: str) -> None:
        """Press one."""
        codes = {"ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35, "Escape": 27, " ": 32}
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key, windowsVirtualKeyCode=codes[key])

    def type(self, selector: str, text: str) -> None:
        """Into a field, in place of what it has."""
        self.evaluate(f"(field => {{ field.focus(); field.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.call("Input.insertText", text=text)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
