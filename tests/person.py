"""The person behind an MCP client: answers what a server asks and remembers what it was told. The client is the `mcp` SDK's own.

    person = Person()
    async with person.client(url) as client: ...
"""
from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from mcp import Client, StdioServerParameters
from mcp.client._transport import Transport
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.stdio import stdio_client
from mcp.types import (
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    LoggingMessageNotificationParams,
    ResourceUpdatedNotification,
    Root,
    TextContent,
)
from programs import ROOT
from pydantic import FileUrl

MODERN = "2026-07-28"
SDK_WARNINGS = [
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),  # what is on its way out is to be tested all the same
    pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning"),  # its HTTP client leaves generators to Trio's care
]
"""For the `pytestmark` of who talks through the SDK: its own shortcomings are not the proxy's."""


class Person:
    """What it was asked and told, in the order in which that came."""

    def __init__(self, name: str = "Ada") -> None:
        self.name = name
        self.roots = ["file:///home/ada"]
        self.asked: list[str] = []
        self.logs: list[str] = []
        self.told: list[str] = []  # the methods of notifications
        self.updated: list[str] = []  # resources
        self.progress: list[float] = []

    def client(self, server: str | Transport, mode: str = "auto") -> Client:
        return Client(server, mode=mode, sampling_callback=self.sample, elicitation_callback=self.elicit, list_roots_callback=self.list_roots,
                      logging_callback=self.log, message_handler=self.tell)  # fmt: skip

    async def sample(self, context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
        self.asked.append("sampling")
        return CreateMessageResult(role="assistant", model="none", content=TextContent(type="text", text=f"said by {self.name}"))

    async def elicit(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        self.asked.append("elicitation")
        return ElicitResult(action="accept", content={"name": self.name, "username": self.name, "email": f"{self.name}@example.org"})

    async def list_roots(self, context: ClientRequestContext) -> ListRootsResult:
        self.asked.append("roots")
        return ListRootsResult(roots=[Root(uri=FileUrl(uri), name=uri.rpartition("/")[2]) for uri in self.roots])

    async def log(self, params: LoggingMessageNotificationParams) -> None:
        self.logs.append(f"{params.level}: {params.data}")

    async def tell(self, message: IncomingMessage) -> None:
        if isinstance(message, Exception):
            raise message
        self.told.append(message.method)
        if isinstance(message, ResourceUpdatedNotification):
            self.updated.append(str(message.params.uri))

    async def hear(self, progress: float, total: float | None, message: str | None) -> None:
        """For `progress_callback`."""
        self.progress.append(progress)


def stdio_front(command: Sequence[str]) -> Transport:
    """A program to talk to on its standard input and output. What it says on stderr is shown when the test fails."""
    program, *arguments = command
    assert sys.__stderr__ is not None
    return stdio_client(StdioServerParameters(command=program, args=arguments, cwd=ROOT), errlog=sys.__stderr__)


def text_of(result: CallToolResult) -> str:
    """All that a tool has said in words."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))
