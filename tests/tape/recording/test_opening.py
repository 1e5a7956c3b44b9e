"""From settings to a recorder with files: what is checked before anything runs, what the header says, where the recorder stands, secrets."""
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from asgi_client import Direct
from dialogue import modern
from fakes import FakeUpstream
from wires import open_house

import shadowproxy
from shadowproxy.application import asgi
from shadowproxy.config import Config, Record, Upstream
from shadowproxy.errors import ConfigError
from shadowproxy.exchange import Call, Exchange, Reply
from shadowproxy.server import open_proxy, open_recording
from shadowproxy.tape.frame import Frame, Header
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.recording.opening import name_of, open_recorder


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", "a key for tests, and nothing else")


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """Where not even root may write."""
    return Path("/proc/self/nowhere") if os.geteuid() == 0 else tmp_path / "closed"


def config(path: Path | str, **settings: Any) -> Config:
    return Config(upstream=Upstream(command=("the-server", "--token", "secret")), record=Record(path=str(path), **settings))


def read(path: Path) -> tuple[Header, list[Frame]]:
    with Reading(path) as reading:
        return reading.header, list(reading)


class Idle:
    async def call(self, next: Call, exchange: Exchange) -> Reply:
        return await next(exchange)


async def test_a_recorded_house(tmp_path: Path) -> None:
    settings = config(tmp_path / "tapes" / "a.jsonl")
    async with open_recording(settings, ()) as (interceptors, recorder), open_house(FakeUpstream(), interceptors) as house:
        await house.connect().post(modern("tools/call", {"name": "login", "arguments": {"password": "hunter2hunter2"}}), authorization="Bearer abcdefghijklmnop")
        assert recorder is not None
    header, frames = read(tmp_path / "tapes" / "a.jsonl")
    assert (header.tool, header.upstream, header.session, header.redaction) == (f"shadowproxy {shadowproxy.__version__}", "the-server", None, "default")
    assert header.python == sys.version.split()[0]
    assert header.key is not None
    assert header.origin == pytest.approx(frames[0].wall - frames[0].t, abs=0.01)
    assert [(frame.kind, frame.leg) for frame in frames] == [("request", "both"), ("response", "both")]
    text = (tmp_path / "tapes" / "a.jsonl").read_text()
    assert "hunter2" not in text
    assert "abcdefghijklmnop" not in text
    assert frames[0].redacted


async def test_rules_of_ones_own_and_none(tmp_path: Path) -> None:
    both: list[dict[str, Any]] = [{"redact_pointers": ("/params/arguments/pin",)}, {"redaction": "none"}]
    for number, settings in enumerate(both):
        async with open_recording(config(tmp_path / f"{number}.jsonl", **settings), ()) as (interceptors, _), open_house(FakeUpstream(), interceptors) as house:
            await house.connect().post(modern("tools/call", {"name": "x", "arguments": {"pin": "swordfish"}}), authorization="Bearer abcdefghijklmnop")
    assert "swordfish" not in (tmp_path / "0.jsonl").read_text()
    assert "swordfish" in (tmp_path / "1.jsonl").read_text()
    header, frames = read(tmp_path / "1.jsonl")
    assert (header.redaction, header.key) == ("none", None)
    assert frames[0].http is not None
    assert dict(frames[0].http.headers)["authorization"] == "Bearer abcdefghijklmnop"


async def test_between_the_legs_stand_the_others(tmp_path: Path) -> None:
    idle = Idle()
    async with open_recording(config(tmp_path / "a.jsonl"), [idle]) as (interceptors, _), open_house(FakeUpstream(), interceptors) as house:
        assert interceptors[1] is idle
        await house.connect().post(modern("x"))
    assert [(frame.kind, frame.leg) for frame in read(tmp_path / "a.jsonl")[1]] == [("request", "client"), ("request", "server"), ("response", "server"), ("response", "client")]


async def test_without_the_setting_nothing_changes() -> None:
    idle = [Idle()]
    async with open_recording(Config(upstream=Upstream(command=("x",))), idle) as (interceptors, recorder):
        assert (interceptors, recorder) == (idle, None)


@pytest.mark.parametrize(("upstream", "name"), [
    ({"url": "https://host.example:8443/mcp?key=secret"}, "https://host.example:8443/mcp"), ({"url": "http://[::1]:80/mcp"}, "http://[::1]:80/mcp"),
    ({"url": "unix:/run/server.sock"}, "unix:/run/server.sock"), ({"command": ("npx", "--token", "secret")}, "npx"), ({"tape": "old.jsonl"}, "old.jsonl"),
])  # fmt: skip
def test_the_name_of_what_stands_behind_tells_no_credentials(upstream: dict[str, Any], name: str) -> None:
    assert name_of(Config(upstream=Upstream(**upstream))) == name


# ---------------------------------------------------- before anything runs
async def refused(settings: Config) -> str:
    assert settings.record is not None
    with pytest.raises(ConfigError) as caught:
        async with open_recorder(settings.record, "x"):
            pytest.fail("it runs")
    return str(caught.value)


@pytest.mark.parametrize("name", ["", "a.jsonl", "deep/er/a.jsonl"])
async def test_a_place_that_cannot_be_written(unwritable: Path, name: str) -> None:
    if os.geteuid():
        unwritable.mkdir(mode=0o500)
    assert "cannot be written (" in await refused(config(unwritable / name))


async def test_a_file_where_a_directory_should_be_and_the_other_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.jsonl").mkdir()
    assert "cannot be written (File exists)" in await refused(config(tmp_path / "file"))
    assert "is a directory, though its name is that of a file" in await refused(config(tmp_path / "folder.jsonl"))


async def test_compression_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert "pip install 'mcp-shadowproxy[zstd]'" in await refused(config(tmp_path, compress=True))
    assert list(tmp_path.iterdir()) == []


async def test_a_key_that_protects_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", "short")
    assert "SHADOWPROXY_REDACTION_KEY is too short" in await refused(config(tmp_path))


async def test_a_proxy_says_so_itself_and_a_check_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        async with open_proxy(Config(upstream=Upstream(url="http://127.0.0.1:1/mcp"), listen=("127.0.0.1:0",), record=Record(path=str(tmp_path / "file")))):
            pytest.fail("it runs")
    async with open_proxy(Config(upstream=Upstream(url="http://127.0.0.1:1/mcp"), listen=("127.0.0.1:0",), record=Record(path=str(tmp_path / "tapes")))) as proxy:
        assert proxy.statistics()["tape_frames"] == 0
    assert list((tmp_path / "tapes").iterdir()) == []


async def test_a_proxy_within_another_server_records_too(tmp_path: Path) -> None:
    """`asgi` opens what `open_proxy` opens."""
    path = tmp_path / "a.jsonl"
    app = asgi(Config(upstream=Upstream(url="http://127.0.0.1:1/mcp"), record=Record(path=str(path))))
    send, receive = trio.open_memory_channel[dict[str, Any]](2)
    told, events = trio.open_memory_channel[dict[str, Any]](2)
    async with trio.open_nursery() as nursery:
        send.send_nowait({"type": "lifespan.startup"})
        nursery.start_soon(app, {"type": "lifespan"}, receive.receive, told.send)
        assert (await events.receive())["type"] == "lifespan.startup.complete"
        client = Direct(app, modern("tools/list"))
        await client.run()
        assert client.status == 502
        send.send_nowait({"type": "lifespan.shutdown"})
        assert (await events.receive())["type"] == "lifespan.shutdown.complete"
    assert [frame.kind for frame in read(path)[1]] == ["request", "refusal"]
