"""A server's HTTP duties, done in its stead: the header rules that a stdio server of the modern era cannot keep itself.

In: a modern request with its HTTP fields. Out: nothing, or the `SpecError` that the specification has for it; the status of an answer.
Source: 2026-07-28, basic/transports/streamable-http.mdx, "Server Validation" and "Server Behavior for Custom Headers". Owns no task.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from shadowproxy.errors import SpecError
from shadowproxy.exchange import Exchange
from shadowproxy.wire.eras import HEADER_MISMATCH, REMOVED
from shadowproxy.wire.jsonrpc import METHOD_NOT_FOUND, BadMessage, Message, Raw, encode, error_code, text_of
from shadowproxy.wire.mcp_http import STATUS_OF_CODE, verdict
from shadowproxy.wire.tool_headers import InvalidTool, Rules, param_verdict, tool_rules

Ask = Callable[[Message], Awaitable[Message]]
PAGES = 50
"""Pages of `tools/list` that are read to learn the header rules."""


def check(exchange: Exchange) -> None:
    """What needs nothing but the request itself. Raises `SpecError`."""
    request = exchange.request
    if exchange.headers is None or not request.is_request:
        return
    method = request.method or ""
    request.meta()  # looked at, and so encoded anew: a duplicate key in it cannot tell the server something else
    fault = verdict(method, request.params(), exchange.headers)
    if fault is not None:
        raise fault
    if method in REMOVED:
        raise SpecError(404, METHOD_NOT_FOUND, f"Method not found: {method} was removed in 2026-07-28")


def status_of(reply: Message) -> int:
    """The HTTP status that a server gives this answer."""
    if "error" not in reply.members:
        return 200
    code = error_code(reply)
    return 200 if code is None else STATUS_OF_CODE.get(code, 200)


class ToolRules:
    """Which arguments of which tool are mirrored in headers, learnt from the server's own `tools/list` when first needed.

    What was learnt holds until the server dies, says that its tools have changed, finds a mismatch itself, or a request breaks the rules as known.
    """

    def __init__(self) -> None:
        self._rules: dict[str, Rules] | None = None
        self._changes = 0

    def forget(self) -> None:
        """The tools have changed; a list that is on its way is an old one."""
        self._rules = None
        self._changes += 1

    def heed(self, reply: Message) -> None:
        """The server's answer to a `tools/call`, which may say that its rules are others."""
        if error_code(reply) == HEADER_MISMATCH:
            self.forget()

    async def check(self, exchange: Exchange, ask: Ask) -> None:
        """Raises `SpecError` if the `Mcp-Param-*` fields of this `tools/call` are not what its arguments say, by the newest rules.

        `ask` sends a request of our own to the server.
        """
        request, headers = exchange.request, exchange.headers
        if headers is None or request.method != "tools/call":
            return
        name = text_of(request.params().get("name", b"")) or ""
        known = self._rules
        learnt = known is None or name not in known
        if known is None or learnt:
            known = await self._learn(request, ask)
        fault = self._fault(known, name, request, headers)
        if fault is not None and not learnt:  # the tool may have changed since
            fault = self._fault(await self._learn(request, ask), name, request, headers)
        if fault is not None:
            raise fault

    def _fault(self, known: dict[str, Rules], name: str, request: Message, headers: Any) -> SpecError | None:
        rules = known.get(name, ())
        return param_verdict(rules, request.level(request.params(), "arguments"), headers) if rules else None

    async def _learn(self, request: Message, ask: Ask) -> dict[str, Rules]:
        rules: dict[str, Rules] = {}
        changes = self._changes
        cursor: Raw | None = None
        for _ in range(PAGES):
            params: dict[str, object] = {"_meta": {k: v for k, v in request.meta().items() if k != "progressToken"}}
            if cursor is not None:
                params["cursor"] = cursor
            reply = await ask(Message.decode(encode({"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": params})))
            cursor = _note(reply, rules)
            if cursor is None:
                break
        if changes == self._changes:
            self._rules = rules
        return rules


def _note(reply: Message, rules: dict[str, Rules]) -> Raw | None:
    """Add the tools of one page; give the cursor of the next."""
    if "error" in reply.members:
        return None
    try:
        result = reply.result()
        for tool in msgspec.json.decode(result.get("tools", b"[]"), type=list[dict[str, Any]]):
            try:
                rules[str(tool.get("name"))] = tool_rules(tool.get("inputSchema"))
            except InvalidTool:
                rules[str(tool.get("name"))] = ()  # clients drop such a tool; nothing is mirrored
    except (BadMessage, msgspec.MsgspecError, RecursionError):
        return None
    return result.get("nextCursor")
