"""The demo's server speaks both eras on its pipes and ends with its input."""
from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from dialogue import META


def talk(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    said = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
    ran = subprocess.run([sys.executable, "-m", "shadowproxy.cli.demo_server"], input=said, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def call(name: str, arguments: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {"id": 2, "method": "tools/call", "params": {"name": name, "arguments": arguments, "_meta": meta}}


def test_legacy() -> None:
    hello, echo = talk({"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}, {"method": "notifications/initialized"},
                       call("echo", {"text": "x"}))  # fmt: skip
    assert hello["result"]["protocolVersion"] == "2025-06-18"
    assert echo["result"] == {"content": [{"type": "text", "text": "x"}], "isError": False}


def test_modern() -> None:
    found, one, two, done = talk({"id": 1, "method": "server/discover", "params": {"_meta": META}}, call("count", {"steps": 2}, progressToken="t", **META))
    assert "2026-07-28" in found["result"]["supportedVersions"]
    assert found["result"]["resultType"] == "complete"
    assert [one["params"]["progress"], two["params"]["progress"]] == [1, 2]
    assert one["params"]["progressToken"] == "t"
    assert done["id"] == 2


def test_failures() -> None:
    failed, unknown, method = talk(call("fail", {}), call("nothing", {}), {"id": 3, "method": "nothing"})
    assert failed["result"]["isError"]
    assert unknown["error"]["code"] == -32602
    assert method["error"]["code"] == -32601
