"""The client program that the conformance suite's client scenarios run, one process for each scenario.

    python client.py direct URL                 the SDK's HTTP client, straight to the suite's mock server
    python client.py through 'COMMAND' URL      the SDK's stdio client, to `COMMAND URL`, a bridge to that server

In come, from the suite, the URL as the last argument, and scenario, revision and data in `MCP_CONFORMANCE_*`; out goes
exit code 0 when the scenario was played to its end. The checks are the suite's: it watches its mock server.
The bridge is closed by closing its stdin, and must be gone soon after: the suite waits for its connections.
"""

import json
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import anyio
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.client import ClientRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

DEADLINE: Final = 25  # inside the suite's 30 s, which would kill a shell and leave this process behind

_STUBS: Final[dict[str, Any]] = {
    "string": "x",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


async def _fill_form(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Accept a form as a user would who leaves the defaults alone and puts something into the rest."""
    del context  # the SDK's callback types fix the names of parameters, wanted or not
    if isinstance(params, types.ElicitRequestURLParams):
        return types.ElicitResult(action="accept")
    fields: dict[str, Any] = params.requested_schema.get("properties", {})
    content = {name: field.get("default", _STUBS.get(field.get("type"))) for name, field in fields.items()}
    return types.ElicitResult(action="accept", content=content)


async def _complete(
    context: ClientRequestContext, params: types.CreateMessageRequestParams
) -> types.CreateMessageResult:
    del context, params
    words = types.TextContent(type="text", text="Hello")
    return types.CreateMessageResult(role="assistant", content=words, model="none", stop_reason="endTurn")


async def _roots(context: ClientRequestContext) -> types.ListRootsResult:
    del context
    return types.ListRootsResult(roots=[])


@dataclass(frozen=True)
class Play:
    """A connected client in a scenario."""

    client: Client
    bridged: bool

    async def list_tools(self) -> list[types.Tool]:
        """The tools on offer; through a bridge just as it hands them on."""
        if not self.bridged:
            return (await self.client.list_tools()).tools
        # The SDK would drop badly annotated tools itself, and hide that the bridge did not.
        answer = await self.client.session.send_request(types.ListToolsRequest(), types.ListToolsResult)
        return answer.tools


async def _handshake(play: Play) -> None:
    await play.list_tools()


async def _call_all(play: Play) -> None:
    for tool in await play.list_tools():
        fields: dict[str, Any] = tool.input_schema.get("properties", {})
        required = tool.input_schema.get("required", [])
        given = {name: _STUBS.get(fields.get(name, {}).get("type", "string")) for name in required}
        try:
            await play.client.call_tool(tool.name, given)
        except MCPError as error:  # one tool's refusal must not keep the others from being called
            sys.stderr.write(f"{tool.name}: {error}\n")


async def _add(play: Play) -> None:
    await play.list_tools()
    await play.client.call_tool("add_numbers", {"a": 5, "b": 3})


async def _all_named_methods(play: Play) -> None:
    await _call_all(play)
    for resource in (await play.client.list_resources()).resources:
        await play.client.read_resource(resource.uri)
    for prompt in (await play.client.list_prompts()).prompts:
        await play.client.get_prompt(prompt.name)


async def _given_calls(play: Play) -> None:
    await play.list_tools()
    for call in json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])["toolCalls"]:
        await play.client.call_tool(call["name"], call["arguments"])


async def _between_rounds(play: Play) -> None:
    await play.list_tools()
    for tool in ("echo_state", "unrelated", "no_state"):
        await play.client.call_tool(f"test_mrtr_{tool}", {})
    # A result without `resultType` counts as complete, but the SDK refuses it. That the call is not
    # sent again is what the suite looks at.
    with suppress(ValidationError):
        await play.client.call_tool("test_mrtr_no_result_type", {})


async def _echo_schema(play: Play) -> None:
    offered = {tool.name: tool.input_schema for tool in await play.list_tools()}
    await play.client.call_tool("json_schema_echo", {"schema": offered["json_schema_2020_12_tool"]})


SCENARIOS: Final[dict[str, Callable[[Play], Awaitable[None]]]] = {
    "initialize": _handshake,
    "tools_call": _add,
    "elicitation-sep1034-client-defaults": _call_all,
    "sse-retry": _call_all,
    "request-metadata": _add,
    "sep-2322-client-request-state": _between_rounds,
    "http-standard-headers": _all_named_methods,
    "http-custom-headers": _given_calls,
    "http-invalid-tool-headers": _call_all,
    "json-schema-ref-no-deref": _handshake,
    "json-schema-2020-12-preservation": _echo_schema,
}
"""Everything of the suite's but `auth/*`: a proxy hands authorization on, it does not do it."""


async def play(scenario: str, version: str, bridge: list[str], url: str) -> None:
    """Connect as the revision wants it, and play one scenario."""
    mode = "auto" if version in MODERN_PROTOCOL_VERSIONS else "legacy"
    # The SDK would hand a child a few variables only, and not those a virtual environment or coverage may need.
    through = StdioServerParameters(command=bridge[0], args=[*bridge[1:], url], env=dict(os.environ)) if bridge else url
    with anyio.fail_after(DEADLINE):
        async with Client(
            through,
            mode=mode,
            elicitation_callback=_fill_form,
            sampling_callback=_complete,
            list_roots_callback=_roots,
        ) as client:
            await SCENARIOS[scenario](Play(client, bridged=bool(bridge)))


def main() -> None:
    """Read what the suite has put on the command line and into the environment."""
    match sys.argv[1:]:
        case ["direct", url]:
            bridge: list[str] = []
        case ["through", command, url]:
            bridge = shlex.split(command)
        case _:
            sys.exit(f"usage: {sys.argv[0]} direct URL | through 'COMMAND' URL")
    scenario, version = os.environ["MCP_CONFORMANCE_SCENARIO"], os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
    anyio.run(play, scenario, version, bridge, url, backend="trio")


if __name__ == "__main__":
    main()
