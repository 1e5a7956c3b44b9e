"""MCP by hand over a process's pipes: one message a line.

In: a `Process` with pipes, a message. Out: the answer with its id. Lines that are not that answer are passed over, as some proxies
write notifications, or even words, between.
"""
from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Mapping
from typing import Any

from scenarios.load.plan import BenchError
from scenarios.load.processes import Process


def tell(process: Process, message: Mapping[str, object]) -> None:
    """Send what expects no answer."""
    assert process.popen.stdin is not None
    process.popen.stdin.write(json.dumps(message).encode() + b"\n")


def ask(process: Process, message: Mapping[str, object], patience: float) -> dict[str, Any]:
    """Send a request and wait for its answer."""
    assert process.popen.stdout is not None
    deadline = time.monotonic() + patience
    try:
        tell(process, message)
    except OSError:
        raise BenchError(f"it took no input: {process.words()}") from None
    seen, output = b"", process.popen.stdout.fileno()
    while select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
        data = os.read(output, 65536)
        if not data:
            raise BenchError(f"it closed its output: {process.words()}")
        *lines, seen = (seen + data).split(b"\n")
        for line in lines:
            if (answer := _answer(line)).get("id") == message["id"]:
                return answer
    raise BenchError(f"no answer within {patience:g} s: {process.words()}")


def _answer(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) and "method" not in message else {}
