"""forward and reverse as a user runs them: exit codes, and nothing but the protocol on standard output."""
from __future__ import annotations

import json
import socket
import subprocess
import sys

from programs import SHADOWPROXY

DEMO = [sys.executable, "-m", "shadowproxy.cli.demo_server"]
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}}}


def run(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SHADOWPROXY, *words], input=said, capture_output=True, text=True, timeout=60, check=False)


def test_a_stdio_client_at_a_stdio_server() -> None:
    call = {"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "x"}}}
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    ran = run("--log-level", "debug", "--", *DEMO, said="".join(json.dumps(message) + "\n" for message in (HELLO, note, call)))
    assert ran.returncode == 0
    assert [json.loads(line)["id"] for line in ran.stdout.splitlines()] == [1, "a"]


def test_a_command_that_cannot_be_started_is_told_to_the_client() -> None:
    ran = run("--", "no-such-program", said=json.dumps(HELLO) + "\n")
    (answer,) = map(json.loads, ran.stdout.splitlines())
    assert answer["id"] == 1
    assert "no-such-program" in answer["error"]["message"]
    assert answer["error"]["data"]["name"] == "upstream_unreachable"
    assert ran.returncode == 0


def test_a_server_that_dies_during_initialize_is_told_with_its_last_words() -> None:
    program = "import sys; sys.stdin.readline(); print('no key given', file=sys.stderr); sys.exit(3)"
    ran = run("--", sys.executable, "-c", program, said=json.dumps(HELLO) + "\n")
    (answer,) = map(json.loads, ran.stdout.splitlines())
    assert answer["error"]["data"]["exit_status"] == 3
    assert answer["error"]["data"]["stderr"] == ["no key given"]


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run("reverse", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "http://127.0.0.1:1/mcp")
    assert ran.returncode == 3
    assert ran.stderr.startswith("shadowproxy: cannot listen on 127.0.0.1:")
    assert ran.stderr.count("\n") == 1


def test_certificates_that_are_not_there() -> None:
    ran = run("reverse", "--listen", "127.0.0.1:0", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem", "http://127.0.0.1:1/mcp")
    assert ran.returncode == 3
    assert "nowhere.pem" in ran.stderr
