"""The server that a test talks to: a tape that answers, or a live one whose answers go on tape.

In: a `Mark` and a `Mode`. Out: ways to talk to it, in memory, by HTTP, or as a child process. In a Trio test a tape answers within the test's own run, so
that its clock holds; everything else runs in a thread with a Trio run of its own (`proxy_thread.py`), so that the test's event loop may be any.
The fixture that made it closes it: `close`, then `keep` if the test has passed. Nothing replaces a tape before that.
"""
from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import anyio.to_thread
import attrs
import sniffio
import trio
import trio.testing

from shadowproxy.admission import Admission
from shadowproxy.config import Config, Record, Timeouts, Upstream
from shadowproxy.downstream.stdio import StdioServer
from shadowproxy.errors import TapeMiss
from shadowproxy.exchange import Call, Exchange, Reply
from shadowproxy.gateway import Gateway
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.replaying.replay import Held, TapeUpstream, Unused
from shadowproxy.tape.replaying.replay_opening import open_reading
from shadowproxy.testing.asking import Asking, Json
from shadowproxy.testing.joining import join
from shadowproxy.testing.marks import Mark
from shadowproxy.testing.modes import Mode
from shadowproxy.testing.proxy_thread import ProxyThread
from shadowproxy.testing.streams import SocketStream, TrioStream, open_transport
from shadowproxy.testing.used import misses_in, never_answered, report, unused_by

EXCHANGES: Final = 1000
TIMEOUTS: Final = Timeouts(request=86_400, drain=5)
"""A tape that is played as slowly as it was recorded knows best how long an answer may take."""
PROGRAM: Final = (sys.executable, "-m", "shadowproxy")


class NoTape(LookupError):
    """There is nothing to answer from; the message says how to get it."""


class Misses:
    """An interceptor that remembers what was asked and is not on the tape."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def call(self, next: Call, exchange: Exchange) -> Reply:
        try:
            return await next(exchange)
        except TapeMiss as miss:
            self.said.append(miss.message)
            raise


class TapedServer:
    """`path`: of its tape. `is_live`: whether a live server may be asked."""

    def __init__(self, mark: Mark, mode: Mode) -> None:
        self.path, self._mark = mark.path, mark
        exists = mark.path.exists()
        self._replays = mode == "none" or (mode in ("once", "new_episodes") and exists)
        self._adds, self._onto = mode == "new_episodes" and exists, mark.path if mode == "all" and exists else None
        self.is_live = self._adds or not self._replays
        if self._replays and not exists:
            raise NoTape(f"there is no tape {mark.path}; record it and commit it: {mark.again('once')}")
        self._stack = ExitStack()
        self._misses = Misses()
        self._tape: TapeUpstream | None = None
        self._gateway: Gateway | None = None
        self._thread: ProxyThread | None = None
        self._asking: Asking | None = None
        self._unused: list[list[Unused]] = []
        self._held: list[Held] = []
        self._upstream = mark.upstream if self.is_live else Upstream(tape=str(mark.path))
        self._folder: Path | None = None
        self._children = 0
        self._closed = False

    # ------------------------------------------------ ways to talk to it
    @property
    def command(self) -> list[str]:
        """What starts it as a child process, which speaks on its standard input and output."""
        self._children += 1
        record = ["--record", str(self._recordings())]
        if not self.is_live:
            return [*PROGRAM, "replay", str(self.path), *_options(self._mark), *record]
        live = [str(self._upstream.url)] if self._upstream.url is not None else ["--", *self._upstream.command]
        if self._adds:
            return [*PROGRAM, "replay", str(self._copy()), *_options(self._mark), "--on-miss", "record", *live]
        return [*PROGRAM, "forward", *record, *live]

    @property
    def url(self) -> str:
        """Its address: it listens on this machine only."""
        return self._running().url

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[anyio.abc.ByteStream]:
        """A pipe to it, while the block runs: a message a line."""
        if not self._in_this_run():
            async with SocketStream(self._running().connect()) as stream:
                yield stream
            return
        sending, stdin = trio.testing.memory_stream_one_way_pair()
        stdout, receiving = trio.testing.memory_stream_one_way_pair()
        async with trio.open_nursery() as serving:
            serving.start_soon(StdioServer(Config(upstream=self._upstream, stdio=True, timeouts=TIMEOUTS), self._answering(), stdin, stdout).run)
            yield TrioStream(sending, receiving)
            serving.cancel_scope.cancel(reason="the client has left")

    @asynccontextmanager
    async def transport(self) -> AsyncIterator[tuple[Any, Any]]:
        """The same for the Python SDK: `mcp.Client(server.transport())`, or `mcp.ClientSession(*streams)`."""
        async with self.stream() as stream, open_transport(stream) as streams:
            yield streams

    async def request(self, method: str, params: Json | None = None) -> Json:
        """Ask without a client: the response, an error too. Whatever the server asks meanwhile is refused."""
        reply: Json = await self._do("request", method, params)
        return reply

    async def notify(self, method: str, params: Json | None = None) -> None:
        await self._do("notify", method, params)

    async def _do(self, verb: str, method: str, params: Json | None) -> Any:
        here = self._in_this_run()
        if self._asking is None:
            self._asking = Asking(self._answering() if here else self._running().gateway)
        function = getattr(self._asking, verb)
        if here:
            return await function(method, params)
        return await anyio.to_thread.run_sync(partial(self._running().call, function, method, params))

    # ------------------------------------------------ what answers
    def _in_this_run(self) -> bool:
        """Whether the tape answers in the test's own Trio run."""
        return not self.is_live and self.path.suffix != ".zst" and sniffio.current_async_library() == "trio"

    def _answering(self) -> Gateway:
        if self._gateway is None:
            self._tape = open_reading(self._stack.enter_context(Reading(self.path)), self._mark.replay)
            self._gateway = Gateway(self._tape, Admission(EXCHANGES, EXCHANGES, 10.0), (self._misses,))
        return self._gateway

    def _running(self) -> ProxyThread:
        if self._thread is None:
            config = Config(upstream=self._upstream, listen=("127.0.0.1:0",), timeouts=TIMEOUTS)
            if self._adds:
                replay = attrs.evolve(self._mark.replay, on_miss="record")
                config = attrs.evolve(config, upstream=attrs.evolve(self._upstream, tape=str(self._copy()), warm=0), replay=replay)
            elif self.is_live:
                config = attrs.evolve(config, record=Record(path=str(self._recordings()), durability="complete"))
            else:
                config = attrs.evolve(config, replay=self._mark.replay)
            self._thread = ProxyThread(config, () if self.is_live else (self._misses,))
        return self._thread

    # ------------------------------------------------ files until the test has passed
    def _own_folder(self) -> Path:
        """Beside the tape, so that what is in it can take its place at once; no other test has it."""
        if self._folder is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=f".{self.path.name}."))
        return self._folder

    def _recordings(self) -> Path:
        folder = self._own_folder() / "recordings"
        folder.mkdir(exist_ok=True)
        return folder

    def _copy(self) -> Path:
        copy = self._own_folder() / "copy.jsonl"
        if not copy.exists():
            shutil.copyfile(self.path, copy)
        return copy

    # ------------------------------------------------ the end
    def close(self) -> None:
        """Whatever runs ends, and everything is written; the tape is still as it was. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with self._stack:
            if self._tape is not None:
                self._unused.append(self._tape.unused())
                self._held = self._tape.held()
            if self._thread is not None:
                if not self.is_live:
                    self._unused.append(self._thread.upstream.unused())
                self._thread.close()

    def keep(self) -> None:
        """The test has passed: what was recorded becomes the tape."""
        if self._folder is None or not self.is_live:
            return
        if self._adds:
            self._copy().replace(self.path)
        elif recordings := sorted(self._recordings().iterdir()):
            join(self.path, recordings, self._onto)

    def complaint(self) -> str:
        """What the test did not do, or did beyond its tape; nothing if all is well."""
        if self.is_live:
            return self._not_recorded()
        recordings = sorted(self._recordings().iterdir()) if self._children else []
        if self._children or not self._unused:
            self._unused.append(unused_by(recordings, self.path, self._mark.replay))
        common = set.intersection(*map(set, self._unused))
        left = [] if self._mark.allow_unused else sorted(common, key=lambda one: one.n)
        misses = [] if self._mark.allow_misses else [*self._misses.said, *misses_in(recordings)]
        return report(self._mark, left, misses, self._held if left else ())

    def _not_recorded(self) -> str:
        if self._adds:
            return ""
        recordings = sorted(self._recordings().iterdir())
        if refusal := never_answered(recordings):
            return f"the live server has not answered anything ({refusal}), so nothing was recorded; look at live={self._mark.live!r} in the mark"
        if not recordings and not self.path.exists():
            return "the test asked nothing of its server, so nothing was recorded"
        return ""

    def seen_so_far(self) -> str:
        """For a test that has failed: where it and its tape did not agree."""
        return "" if self.is_live else report(self._mark, (), self._misses.said, self._tape.held() if self._tape is not None else ())

    def clear(self) -> None:
        """Remove what is not kept."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _options(mark: Mark) -> list[str]:
    replay = mark.replay
    words = ["--order", replay.order, "--repeats", replay.repeats, "--timing", replay.timing]
    if replay.timing != "none":
        words += ["--request-timeout", f"{TIMEOUTS.request:g}"]
    return [*words, *(word for pointer in replay.ignore for word in ("--ignore", pointer))]
