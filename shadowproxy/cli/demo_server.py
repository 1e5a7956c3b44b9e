"""The demo's MCP server: a few tools over stdio, in both eras, with nothing but the standard library.

In: JSON-RPC lines on standard input. Out: answers on standard output. Ends with its input. Run as `python -m shadowproxy.cli.demo_server`.
"""
from __future__ import annotations

import json
import sys
from typing import Any

SERVER = {"name": "shadowproxy-demo", "version": "1.0.0"}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
STEPS = {"type": "object", "properties": {"steps": {"type": "integer", "minimum": 1, "maximum": 10}}}
TOOLS = [
    {"name": "echo", "description": "Says it again.", "inputSchema": TEXT},
    {"name": "count", "description": "Counts, and reports progress on the way.", "inputSchema": STEPS},
    {"name": "fail", "description": "Always fails, to show what that looks like.", "inputSchema": {"type": "object"}},
]
_VERSION = "io.modelcontextprotocol/protocolVersion"


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(value: str, error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}], "isError": error}


def call(params: dict[str, Any]) -> dict[str, Any]:
    arguments = params.get("arguments", {})
    match params.get("name"):
        case "echo":
            return text(str(arguments.get("text", "")))
        case "count":
            return count(int(arguments.get("steps", 3)), params.get("_meta", {}).get("progressToken"))
        case "fail":
            return text("this tool always fails", error=True)
    raise Refused(-32602, f"Unknown tool: {params.get('name')}")


def count(steps: int, token: object) -> dict[str, Any]:
    for step in range(1, steps + 1):
        if token is not None:
            say({"method": "notifications/progress", "params": {"progressToken": token, "progress": step, "total": steps}})
    return text(f"counted to {steps}")


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            return {"protocolVersion": params.get("protocolVersion", "2025-11-25"), "capabilities": {"tools": {}}, "serverInfo": SERVER}
        case "server/discover":
            return {"supportedVersions": ["2026-07-28", "2025-11-25"], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public"}
        case "tools/list":
            return {"tools": TOOLS, "ttlMs": 0, "cacheScope": "public"}
        case "tools/call":
            return call(params)
        case "ping":
            return {}
    raise Refused(-32601, f"Method not found: {method}")


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request or "method" not in request:
            continue
        params = request.get("params", {})
        try:
            result = answer(request["method"], params)
        except Refused as error:
            say({"id": request["id"], "error": {"code": error.code, "message": str(error)}})
            continue
        if _VERSION in params.get("_meta", {}):
            result = {**result, "resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": SERVER}}
        say({"id": request["id"], "result": result})


if __name__ == "__main__":
    serve()
