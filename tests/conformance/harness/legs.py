"""The legs of a run: what stands between the suite and the fixture, and which checks each of them must hold.

In comes a `Lab`, out go a leg's results by era. A leg starts what it needs and has ended all of it when it returns.
"""

import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .processes import free_port, listening, running
from .results import Results, load
from .suite import ERAS, Suite

HERE: Final = Path(__file__).parents[1]
FIXTURE: Final = (sys.executable, str(HERE / "fixture_server.py"))
CLIENT: Final = (sys.executable, str(HERE / "client.py"))


@dataclass(frozen=True)
class Lab:
    """What every leg of a run shares."""

    suite: Suite
    proxy: Sequence[str]
    raw: Path
    scenario: str | None

    async def wanted(self, side: str, era: str) -> list[str]:
        """The scenarios to run at a revision."""
        names = await self.suite.scenarios(side, era)
        return names if self.scenario is None else [name for name in names if name == self.scenario]


async def _serve(stack: AsyncExitStack, command: Sequence[str], port: int, log: Path) -> None:
    process = await stack.enter_async_context(running(command, log))
    await listening(port, process, log)


@asynccontextmanager
async def _fixture(lab: Lab, leg: str) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        port = free_port()
        await _serve(stack, [*FIXTURE, "--http", str(port)], port, lab.raw / f"{leg}.fixture.log")
        # Not 127.0.0.1, for the suite's rebinding scenario wants the name.
        yield f"http://localhost:{port}/mcp"


@asynccontextmanager
async def _reverse(lab: Lab, leg: str, upstream: Sequence[str]) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        port = free_port()
        command = [*lab.proxy, "reverse", "--listen", f"127.0.0.1:{port}", *upstream]
        await _serve(stack, command, port, lab.raw / f"{leg}.proxy.log")
        yield f"http://localhost:{port}/mcp"


async def _server_suite(lab: Lab, leg: str, url: str) -> dict[str, Results]:
    found = {}
    for era in ERAS:
        if await lab.wanted("--server", era):
            out = lab.raw / leg / era
            out.mkdir(parents=True)
            await lab.suite.against_server(url, era, out, lab.scenario)
            found[era] = load(out, "server-")
    return found


async def _client_suite(lab: Lab, leg: str, command: str) -> dict[str, Results]:
    found = {}
    for era in ERAS:
        # One by one: the suite itself would start all of them at once, and measures how long one waits.
        for scenario in await lab.wanted("--client", era):
            out = lab.raw / leg / era
            out.mkdir(parents=True, exist_ok=True)
            await lab.suite.against_client(command, era, out, scenario)
            found[era] = load(out)
    return found


async def _direct(lab: Lab) -> dict[str, Results]:
    async with _fixture(lab, "direct") as url:
        return await _server_suite(lab, "direct", url)


async def _http(lab: Lab) -> dict[str, Results]:
    async with _fixture(lab, "http") as upstream, _reverse(lab, "http", [upstream]) as url:
        return await _server_suite(lab, "http", url)


async def _stdio(lab: Lab) -> dict[str, Results]:
    async with _reverse(lab, "stdio", ["--", *FIXTURE, "--stdio"]) as url:
        return await _server_suite(lab, "stdio", url)


@asynccontextmanager
async def _replay(lab: Lab, leg: str, tape: Path) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        port = free_port()
        command = [*lab.proxy, "replay", str(tape), "--listen", f"127.0.0.1:{port}"]
        await _serve(stack, command, port, lab.raw / f"{leg}.proxy.log")
        yield f"http://localhost:{port}/mcp"


async def _replayed(lab: Lab) -> dict[str, Results]:
    """The suite twice: what the first run was answered is recorded, and is all that answers the second."""
    tape = lab.raw / "suite.jsonl"
    async with _fixture(lab, "replay") as upstream, _reverse(lab, "recorded", ["--record", str(tape), upstream]) as url:
        await _server_suite(lab, "recorded", url)
    async with _replay(lab, "replay", tape) as url:
        return await _server_suite(lab, "replay", url)


async def _client_direct(lab: Lab) -> dict[str, Results]:
    return await _client_suite(lab, "client-direct", shlex.join([*CLIENT, "direct"]))


async def _client(lab: Lab) -> dict[str, Results]:
    bridge = shlex.join([*lab.proxy, "forward"])
    return await _client_suite(lab, "client", shlex.join([*CLIENT, "through", bridge]))


@dataclass(frozen=True)
class Leg:
    """One row of the table.

    Without `baseline` it has to pass everything, and exactly as many checks as `figures` say; with one it has to
    hold each check that leg passes, but for the scenarios in `excused`.
    """

    title: str
    run: Callable[[Lab], Awaitable[dict[str, Results]]]
    baseline: str | None = None
    figures: Mapping[str, int] = field(default_factory=dict)
    excused: Mapping[tuple[str, str], str] = field(default_factory=dict)


_NO_STREAMS: Final = (
    "the tool closes its own HTTP stream half way, and a server on stdio has none to close; "
    "its answer comes on the stream that asked."
)

LEGS: Final[dict[str, Leg]] = {
    "direct": Leg("the fixture, directly", _direct, figures={"2025-11-25": 84, "2026-07-28": 152}),
    "http": Leg("`reverse`, HTTP behind", _http, baseline="direct"),
    "stdio": Leg(
        "`reverse`, stdio behind",
        _stdio,
        baseline="direct",
        excused={("2025-11-25", "server-sse-polling"): _NO_STREAMS},
    ),
    "replay": Leg("`replay` of a tape of the suite, made by `reverse --record`", _replayed, baseline="direct"),
    "client-direct": Leg("the SDK's client, directly", _client_direct, figures={"2025-11-25": 20, "2026-07-28": 64}),
    "client": Leg("the SDK's client through `forward`", _client, baseline="client-direct"),
}
