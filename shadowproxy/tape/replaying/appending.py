"""Recording what was not on the tape, at its end: `on_miss` "record".

In: exchanges with the live server. Out: the same, untouched; frames appended to the tape, numbered on from its last one, in the recorded session that the
client is answered from, so that they are found the next time. `open_appending` owns the recorder's task; leaving it writes what waits.
"""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from shadowproxy.exchange import Call, Exchange, Listen, Notify, Replies, Reply, Session
from shadowproxy.service import running
from shadowproxy.tape.frame import Frame, Header, decode_frame, encode_frames
from shadowproxy.tape.recording.envelopes import Redacts
from shadowproxy.tape.recording.recorder import Recorder
from shadowproxy.tape.recording.track import Talk, Track
from shadowproxy.tape.replaying.columns import Columns


class TapeEnd:
    """The end of a tape that is there already, as a recorder's writer. `end`: where its last whole line ends; half a line behind that is cut off.

    `later`: seconds from the tape's origin to the recorder's. Raises `OSError` if nothing can be written there.
    """

    def __init__(self, path: Path, end: int, columns: Columns) -> None:
        self._frame, self._exchange, self._end, self.later = columns.last_frame, columns.last_exchange, end, 0.0
        self._file = path.open("r+b", buffering=0)

    def write(self, track: Track, data: bytes) -> None:
        """Append these lines, renumbered. Raises `OSError`, with nothing appended."""
        rest = data = encode_frames(self._moved(decode_frame(line)) for line in data.split(b"\n") if line)
        self._file.truncate(self._end)
        self._file.seek(self._end)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(data)

    def _moved(self, frame: Frame) -> Frame:
        exchange = None if frame.exchange is None else frame.exchange + self._exchange
        stream = frame.stream if frame.stream is None or frame.exchange is None else f"{frame.stream[0]}{exchange}"
        return msgspec.structs.replace(frame, n=frame.n + self._frame, t=round(frame.t + self.later, 6), exchange=exchange, stream=stream,
                                       re=frame.re and frame.re + self._frame, batch=frame.batch and frame.batch + self._frame)  # fmt: skip

    def close(self) -> None:
        self._file.close()


class Appender:
    """An interceptor before the live server."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._side = recorder.leg("both")

    def belongs(self, session: Session, name: str | None) -> None:
        session.recorded = Talk(self._recorder.backlog.talk(None).track, name)

    async def call(self, next: Call, exchange: Exchange) -> Reply:
        return await self._side.call(next, exchange)

    async def notify(self, next: Notify, exchange: Exchange) -> None:
        await self._side.notify(next, exchange)

    async def listen(self, next: Listen, exchange: Exchange) -> Replies:
        return await self._side.listen(next, exchange)


@asynccontextmanager
async def open_appending(path: Path, end: int, header: Header, columns: Columns, redactor: Redacts | None) -> AsyncIterator[Appender]:
    """Append to the tape at `path` while the block runs. Raises `OSError`."""
    writer = TapeEnd(path, end, columns)
    recorder = Recorder(writer, redactor, durability="complete")
    writer.later = recorder.origin - header.origin
    async with running(recorder.run):
        yield Appender(recorder)
