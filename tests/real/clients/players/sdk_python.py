"""A play by the `mcp` SDK for Python, on the event loop that the play names.

In: the play as JSON on the command line. Out: a report as JSON on standard output.
"""

import json
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.types import (
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)
from pydantic import FileUrl

Json = dict[str, Any]


class Player:
    """The person in front of the client, and the client."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told: list[str] = []

    def client(self, play: Json) -> Client:
        command = play.get("command")
        server = StdioServerParameters(command=command[0], args=command[1:]) if command else play["url"]
        return Client(server, mode=play["mode"], sampling_callback=self.sample, elicitation_callback=self.elicit, list_roots_callback=self.list_roots,
                      message_handler=self.tell)  # fmt: skip

    async def sample(self, context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
        self.asked.append("sampling/createMessage")
        return CreateMessageResult(role="assistant", model="none", content=TextContent(type="text", text="said by Ada"))

    async def elicit(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        self.asked.append("elicitation/create")
        return ElicitResult(action="accept", content={"name": "Ada", "username": "Ada", "email": "ada@example.org"})

    async def list_roots(self, context: ClientRequestContext) -> ListRootsResult:
        self.asked.append("roots/list")
        return ListRootsResult(roots=[Root(uri=FileUrl("file:///home/ada"), name="home")])

    async def tell(self, message: IncomingMessage) -> None:
        if isinstance(message, Exception):
            raise message
        self.told.append(message.method)


class Acts:
    """One method for each thing that an act can be."""

    def __init__(self, client: Client, player: Player) -> None:
        self.client, self.player = client, player

    async def call(self, tool: str, arguments: Json) -> Json:
        steps: list[float] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            steps.append(progress)

        return {"text": text_of(await self.client.call_tool(tool, arguments, progress_callback=hear)), "progress": steps}

    async def nod(self, tool: str, arguments: Json) -> Json:
        steps: list[float] = []
        async with anyio.create_task_group() as group:

            async def hear(progress: float, total: float | None, message: str | None) -> None:
                steps.append(progress)
                group.start_soon(self.client.call_tool, "nod", {"step": int(progress)})

            text = text_of(await self.client.call_tool(tool, arguments, progress_callback=hear))
        return {"text": text, "progress": steps}

    async def cancel(self, tool: str, arguments: Json) -> Json:
        async with anyio.create_task_group() as group:

            async def hear(progress: float, total: float | None, message: str | None) -> None:
                group.cancel_scope.cancel()

            await self.client.call_tool(tool, arguments, progress_callback=hear)
        return {"text": "cancelled" if group.cancel_scope.cancelled_caught else "answered"}

    async def hear(self, tool: str) -> Json:
        async with AsyncExitStack() as stack:
            if self.client.protocol_version >= "2026":
                await stack.enter_async_context(self.client.listen(tools_list_changed=True))
            text = text_of(await self.client.call_tool(tool))
            await until(lambda: "notifications/tools/list_changed" in self.player.told)
        return {"text": text, "told": sorted({method for method in self.player.told if "list_changed" in method})}

    async def answer(self, request: str) -> Json:
        await until(lambda: request in self.player.asked)
        return {"asked": [*self.player.asked]}


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.sleep(0.01)


async def perform(play: Json) -> None:
    player = Player()
    async with player.client(play) as client:
        acts, results = Acts(client, player), []
        tools = [tool.name for tool in (await client.list_tools()).tools]
        for act in play["acts"]:
            do: Callable[..., Awaitable[Json]] = getattr(acts, act.pop("do"))
            results.append(await do(**act))
        info = client.server_info
        found = {"tools": tools, "results": results, "asked": player.asked, "version": client.protocol_version, "server": info and info.name}
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    play = json.loads(sys.argv[1])
    anyio.run(partial(perform, play), backend=play["loop"])
