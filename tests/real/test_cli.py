"""The command as a user starts it: words and exit codes, both verbs end to end, errors at start, stdout with nothing but protocol."""
from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from programs import PATIENCE, ROOT, SHADOWPROXY, Program, await_now

SERVER = (sys.executable, "-m", "shadowproxy.cli.demo_server")
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SHADOWPROXY, *words], input=stdin, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False)


def ask(id: int, method: str, params: dict[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + "\n"


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "shadowproxy 0.1.0\n", "")


def test_help() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "shadowproxy reverse --listen" in done.stdout


@pytest.mark.parametrize("words", [["forward", "--lisen", "x", "http://x"], ["reverse", "http://x"], ["forward", "a"]])
def test_a_wrong_word_is_one_line(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("shadowproxy: ")


@pytest.mark.parametrize("words", [["--"], ["forward", "--"], ["--log-level", "error", "--"]])
def test_stdio_in_stdio_out(words: Sequence[str]) -> None:
    """Input, answers, end of input, exit: and on standard output nothing else."""
    stdin = ask(1, "initialize", HELLO) + ask(2, "tools/call", {"name": "echo", "arguments": {"text": "hello"}})
    done = run(*words, *SERVER, stdin=stdin)
    replies = {reply["id"]: reply for reply in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0
    assert replies[2]["result"]["content"] == [{"type": "text", "text": "hello"}]
    assert set(replies) == {1, 2}


@pytest.mark.parametrize("verb", ["forward", "reverse"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_http_in_until_a_signal(verb: str, number: int) -> None:
    with Program([*SHADOWPROXY, verb, "--listen", "127.0.0.1:0", "--", *SERVER]) as proxy:
        answer = httpx.post(proxy.url, content=ask(1, "initialize", HELLO), headers=HEADERS)
        assert answer.json()["result"]["serverInfo"]["name"] == "shadowproxy-demo"
        proxy.signal(number)
        await_now(lambda: proxy.ended and not proxy.family())
        assert proxy.status == 0
        assert "draining" in proxy.words


def test_an_address_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("reverse", "--listen", address, "--", *SERVER)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"shadowproxy: cannot listen on {address}: Address already in use\n"


def test_a_standard_error_that_nobody_reads_stops_nothing() -> None:
    """A client need not read it; a server that talks a lot would fill its pipe at level debug."""
    noisy = (
        "import sys, json\nfor line in sys.stdin:\n    request = json.loads(line)\n    sys.stderr.write('noise ' * 20000 + '\\n' * 200); sys.stderr.flush()\n"
        "    result = {'protocolVersion': '2025-11-25', 'capabilities': {}, 'serverInfo': {'name': 'noisy', 'version': '1'}}\n"
        "    if 'id' in request: print(json.dumps({'jsonrpc': '2.0', 'id': request['id'], 'result': result}), flush=True)\n"
    )
    command = [*SHADOWPROXY, "--log-level", "debug", "--", sys.executable, "-c", noisy]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(1, 12):
            process.stdin.write(ask(number, "initialize" if number == 1 else "ping", HELLO if number == 1 else {}))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
