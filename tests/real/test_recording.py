"""`--record` from the command line: real programs, real disks. What a user has in hand afterwards: tapes that open, whatever happened."""
from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from dialogue import META, MODERN
from person import SDK_WARNINGS, Person, stdio_front, text_of
from programs import PATIENCE, PUPPET, SHADOWPROXY, Program, await_now, until
from taping import told, whole

from shadowproxy.cli import exits
from shadowproxy.tape.frame import Frame, Unreadable
from shadowproxy.tape.reader import Reading

pytestmark = SDK_WARNINGS
BEHIND = ("--", *PUPPET, "--stdio")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", "a key for tests, and nothing else")


def reverse(*words: str, limit: int | None = None) -> Program:
    """A recording proxy; with `limit`, no file of it may be larger than so many KiB."""
    command = [*SHADOWPROXY, "reverse", "--listen", "127.0.0.1:0", *words, *BEHIND]
    return Program(command if limit is None else ["sh", "-c", f'ulimit -S -f {limit * 2}; exec "$@"', "sh", *command])


def call(url: str, tool: str, text: str = "") -> httpx.Response:
    """A modern call."""
    params = {"name": tool, "arguments": {"text": text}, "_meta": META}
    fields = {"accept": "application/json, text/event-stream", "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool}
    return httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, headers=fields, timeout=PATIENCE, trust_env=False)


def frames(path: Path) -> list[Frame]:
    """What is there so far."""
    try:
        with Reading(path) as reading:
            return list(reading)
    except (FileNotFoundError, Unreadable):
        return []


def said(path: Path) -> list[str]:
    """The texts that were answered, as far as they are on tape."""
    return [frame.value()["result"]["content"][0]["text"] for frame in frames(path) if frame.kind == "response"]


@contextmanager
def rules(tmp_path: Path, text: str) -> Iterator[str]:
    path = tmp_path / "shadowproxy.toml"
    path.write_text(text)
    yield str(path)


# ---------------------------------------------------- a real client
async def test_forward_on_stdio_with_a_real_client(tmp_path: Path) -> None:
    path, person = tmp_path / "a.jsonl", Person()
    with trio.fail_after(PATIENCE):
        async with person.client(stdio_front([*SHADOWPROXY, "forward", "--record", str(path), *BEHIND]), "legacy") as client:
            result = await client.call_tool("count", {"steps": 2}, progress_callback=partial(note, person))
            assert text_of(result) == "it counted to 2"
    tape = frames(path)
    assert whole(tape) == 0
    lines = [told(frame).partition(" #")[0].partition(" session=")[0] for frame in tape]
    spoken = [line for line in lines if line not in ("> open", "< close")]
    assert (spoken[:8], spoken[-1]) == ([
        "> request initialize", "< response", "< about", "> notification notifications/initialized", "> request tools/call",
        "< notification notifications/progress", "< notification notifications/progress", "< response",
    ], "> end")  # fmt: skip
    assert {frame.session for frame in tape} == {"s1"}
    with Reading(path) as reading:
        assert (reading.header.redaction, Path(reading.header.upstream).name) == ("default", Path(PUPPET[0]).name)


async def note(person: Person, progress: float, total: float | None, message: str | None) -> None:
    person.progress.append(progress)


async def test_reverse_with_a_directory_has_a_file_a_session(tmp_path: Path) -> None:
    tapes = tmp_path / "tapes"
    with reverse("--record", str(tapes)) as proxy, trio.fail_after(PATIENCE):
        for _ in range(2):
            async with Person().client(proxy.url, "legacy") as client:
                assert text_of(await client.call_tool("echo", {"text": "legacy"})) == "legacy"
        async with Person().client(proxy.url, MODERN) as client:
            assert text_of(await client.call_tool("echo", {"text": "modern"})) == "modern"
        proxy.signal(signal.SIGTERM)
        await until(lambda: proxy.ended)
        assert proxy.status == exits.OK
    found = {path.stem.rpartition("-")[2]: path for path in tapes.iterdir()}
    assert found.keys() == {"s1", "s2", "all"}
    assert {name: [text for text in said_of(path) if text] for name, path in found.items()} == {"s1": ["legacy"], "s2": ["legacy"], "all": ["modern"]}
    assert all("end" in {frame.kind for frame in frames(path)} for name, path in found.items() if name != "all")
    assert {stat.S_IMODE(path.stat().st_mode) for path in found.values()} == {0o600}


def said_of(path: Path) -> list[str]:
    return [content[0]["text"] for frame in frames(path) if frame.kind == "response" and (content := (frame.value().get("result") or {}).get("content"))]


# ---------------------------------------------------- ends
def test_a_signal_writes_what_was_said_a_moment_ago(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with reverse("--record", str(path)) as proxy:
        for number in range(20):
            assert call(proxy.url, "echo", f"{number}").status_code == 200
        proxy.signal(signal.SIGTERM)
        await_now(lambda: proxy.ended)
    assert said(path) == [f"{number}" for number in range(20)]


@pytest.mark.parametrize("durability", ["lossy", "complete"])
def test_after_kill_the_tape_opens_and_has_what_had_been_written(tmp_path: Path, durability: str) -> None:
    path = tmp_path / "a.jsonl"
    with rules(tmp_path, f'[record]\npath = "{path}"\ndurability = "{durability}"\n') as file, reverse("--config", file) as proxy:
        call(proxy.url, "echo", "before")
        await_now(lambda: said(path) == ["before"])  # it is written by itself, without anything else happening
        for number in range(30):
            call(proxy.url, "echo", f"{number}")
        proxy.signal(signal.SIGKILL)
        await_now(lambda: proxy.ended)
    texts = said(path)
    assert texts == ["before", *(f"{number}" for number in range(30))][: len(texts)]
    assert whole(frames(path)) == 0


# ---------------------------------------------------- disks
def test_a_disk_that_is_full_and_then_is_not(tmp_path: Path) -> None:
    """The traffic does not notice; the tape says what is missing."""
    path, text = tmp_path / "a.jsonl", "x" * 2000
    with reverse("--record", str(path), limit=64) as proxy:
        for number in range(60):
            assert call(proxy.url, "echo", f"{number} {text}").status_code == 200
        await_now(lambda: "a tape cannot be written" in proxy.words)
        written = len(frames(path))
        assert 0 < written < 120
        hard = resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        call(proxy.url, "echo", "after")
        await_now(lambda: said(path)[-1] == "after")
        assert "tapes can be written again" in proxy.words
        tape = frames(path)
        assert sum(frame.kind == "gap" for frame in tape) >= 1  # more, if a small batch still found room
        assert whole(tape) + sum(frame.kind != "gap" for frame in tape) == 122
        assert "File too large" in next(frame.text or "" for frame in tape if frame.kind == "gap")


def test_files_are_put_aside_compressed_and_only_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "tapes" / "a.jsonl"
    text = f'[record]\npath = "{path}"\nrotate_size = 3000\nkeep = 2\ncompress = true\n'
    with rules(tmp_path, text) as file, reverse("--config", file) as proxy:
        for number in range(8):
            call(proxy.url, "echo", f"{number} " + "x" * 2000)
            await_now(lambda number=number: [one for one in said(path) if one.startswith(f"{number} ")])  # type: ignore[misc]
        proxy.signal(signal.SIGTERM)
        await_now(lambda: proxy.ended)
        assert proxy.status == exits.OK
    aside = sorted(set(path.parent.iterdir()) - {path}, key=os.path.getmtime)
    assert [one.suffix for one in aside] == [".zst"] * 2
    texts = [one.partition(" ")[0] for file in (*aside, path) for one in said(file)]
    assert texts == [f"{number}" for number in range(8)][-len(texts) :]
    assert len(texts) >= 3
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize(("words", "what"), [(["--record", "/proc/self/nowhere"], "record.path /proc/self/nowhere: cannot be written"),
                                             (["--record", "/proc/self/nowhere/a.jsonl"], "cannot be written"), (["--record", ""], "path")])  # fmt: skip
@pytest.mark.parametrize("verb", ["forward", "reverse"])
def test_a_place_that_cannot_be_written_is_told_before_anything_starts(words: list[str], what: str, verb: str) -> None:
    listen = ["--listen", "127.0.0.1:0"]
    with Program([*SHADOWPROXY, verb, *listen, *words, *BEHIND]) as proxy:
        await_now(lambda: proxy.ended)
        assert (proxy.status, proxy.family()) == (exits.USAGE, set())
        assert what in proxy.words
        assert "http://" not in proxy.words


def test_secrets_do_not_reach_the_disk(tmp_path: Path) -> None:
    path, secret = tmp_path / "a.jsonl", "sk-ant-api03-" + "a1B2" * 20
    with reverse("--record", str(path)) as proxy:
        assert call(proxy.url, "echo", secret).json()["result"]["content"][0]["text"] == secret
        await_now(lambda: len(frames(path)) == 2)
        assert "REDACTED" in path.read_text()
        assert secret not in path.read_text()

