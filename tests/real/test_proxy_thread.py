"""A proxy in a thread of its own: its address, its pipes, its end, and what goes wrong inside."""
from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import pytest
from replays import HELLO, handshake, tool
from tapes import write_tape

from shadowproxy.config import Config, Upstream
from shadowproxy.errors import ConfigError
from shadowproxy.testing.asking import Asking
from shadowproxy.testing.proxy_thread import ProxyThread

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add"}}
GREETING = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HELLO}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    tape = write_tape(tmp_path / "tape.jsonl", [*handshake(), *tool(4, {"name": "add"}, {"sum": 3})])
    return Config(upstream=Upstream(tape=str(tape)), listen=("127.0.0.1:0",))


def test_a_pipe_and_an_address_and_a_call(config: Config) -> None:
    proxy = ProxyThread(config)
    try:
        with proxy.connect() as sock, sock.makefile("rwb") as pipe:
            for message in (GREETING, CALL):
                pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()
            answers = [json.loads(pipe.readline()) for _ in range(2)]
            assert [answer["id"] for answer in answers] == [0, 1]
            assert answers[1]["result"] == {"sum": 3}
        answer = httpx.post(proxy.url, json=GREETING, headers={"accept": "application/json, text/event-stream"})
        assert answer.json()["result"]["serverInfo"]["name"] == "taped"
        assert "result" in proxy.call(Asking(proxy.gateway).request, "initialize", HELLO)
        assert proxy.upstream.unused() == []
    finally:
        proxy.close()
        proxy.close()
    with pytest.raises(httpx.ConnectError):
        httpx.post(proxy.url)


def test_what_cannot_start_is_raised_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl"):
        ProxyThread(Config(upstream=Upstream(tape=str(tmp_path / "none.jsonl"))))


def test_a_bug_inside_is_raised_by_closing(config: Config) -> None:
    proxy = ProxyThread(config)

    async def fail() -> None:
        raise RuntimeError("a bug")

    proxy._token.run_sync_soon(proxy._serving.start_soon, fail)
    proxy._thread.join(30)
    with pytest.raises(ExceptionGroup) as caught:
        proxy.close()
    assert caught.group_contains(RuntimeError, match="a bug")


def test_a_child_behind_it_is_gone_with_it() -> None:
    """The census of every test sees to that."""
    proxy = ProxyThread(Config(upstream=Upstream(command=(sys.executable, "-m", "shadowproxy.cli.demo_server")), listen=("127.0.0.1:0",)))
    try:
        reply = proxy.call(Asking(proxy.gateway).request, "initialize", HELLO)
        assert "serverInfo" in reply["result"]
    finally:
        proxy.close()
