"""The server that clients play with: the `mcp` SDK's, both eras, on standard input and output.

    python tests/real/clients/host.py

Each tool is for one thing that a client can do; what it says back shows whether that arrived.
"""

from typing import Annotated

import anyio
import trio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.server.session import ServerSession
from pydantic import BaseModel

mcp = MCPServer("host", version="1.0.0")
left: list[str] = []
nods: list[int] = []


class Name(BaseModel):
    name: str


def whom() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


@mcp.tool()
def echo(text: str) -> str:
    """The same again."""
    return text


@mcp.tool()
async def count(steps: int, ctx: Context) -> str:
    """Reports progress at every step."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps)
    return f"counted to {steps}"


@mcp.tool()
async def pace(steps: int, ctx: Context) -> str:
    """Reports progress at every step, and goes on when it was nodded at: only a client that hears of each step at once sees the end."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps)
        while step not in nods:
            await anyio.sleep(0.01)
    return f"paced {steps} steps"


@mcp.tool()
def nod(step: int) -> str:
    """For `pace`."""
    nods.append(step)
    return "nodded"


@mcp.tool()
def greet(who: Annotated[Name, Resolve(whom)]) -> str:
    """Asks for a name: by a request of its own, or, from 2026-07-28 on, by a demand for input."""
    return f"Hello, {who.name}!"


@mcp.tool()
async def change(ctx: Context) -> str:
    """Tells of a changed list of tools: its session, or, from 2026-07-28 on, all subscriptions."""
    await ctx.notify_tools_changed()
    if ctx.request_context.protocol_version < "2026":
        await ctx.session.send_tool_list_changed()
    return "told"


@mcp.tool()
async def change_later(ctx: Context) -> str:
    """The same for a session, when this call is over: `initialize`'s eras have a stream for that."""
    trio.lowlevel.spawn_system_task(_tell_later, ctx.session)
    return "soon"


async def _tell_later(session: ServerSession) -> None:
    await trio.sleep(0.2)
    await session.send_tool_list_changed()


@mcp.tool()
async def hang(label: str, ctx: Context) -> str:
    """Never answers. Its only progress says that it hangs; that it was cancelled is remembered."""
    await ctx.report_progress(0, 1)
    try:
        await anyio.sleep_forever()
    finally:
        left.append(label)
    return "over"


@mcp.tool()
async def wait_for_leaving(label: str) -> str:
    """Answers as soon as the call of that label was cancelled."""
    while label not in left:
        await anyio.sleep(0.01)
    return f"{label} was cancelled"


if __name__ == "__main__":
    anyio.run(mcp.run_stdio_async, backend="trio")
