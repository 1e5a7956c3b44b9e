"""What can be said on the command line, what it means, and what is said back when it cannot be meant."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shadowproxy import Config, __version__
from shadowproxy.cli import exits, main, proxying


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What would be run; nothing is."""
    configs: list[Config] = []

    def start(config: Config) -> int:
        configs.append(config)
        return exits.OK

    monkeypatch.setattr(proxying, "start", start)
    return configs


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == exits.OK
    assert capsys.readouterr().out == f"shadowproxy {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["forward", "--help"], ["reverse", "--help"], ["demo", "--help"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(words) == exits.OK
    assert "Usage: shadowproxy" in capsys.readouterr().out


def test_a_bare_command_is_forwarded_verbatim(started: list[Config]) -> None:
    assert main.run(["--", "my-server", "--listen", "--", "x"]) == exits.OK
    assert started[0].upstream.command == ("my-server", "--listen", "--", "x")
    assert started[0].stdio
    assert not started[0].listen


@pytest.mark.parametrize(("words", "path", "value"), [
    (["forward", "http://server/mcp"], "upstream.url", "http://server/mcp"),
    (["forward", "http://server/mcp"], "stdio", True),
    (["forward", "--listen", "127.0.0.1:1", "http://server/mcp"], "stdio", False),
    (["forward", "--listen", "127.0.0.1:1", "http://server/mcp"], "listen", ("127.0.0.1:1",)),
    (["reverse", "--listen", "127.0.0.1:1", "--listen", "[::1]:2", "http://server/mcp"], "listen", ("127.0.0.1:1", "[::1]:2")),
    (["reverse", "--listen", "unix:/tmp/s", "--", "server"], "listen", ("unix:/tmp/s",)),
    (["forward", "--env", "A=1", "--env", "B=2=3", "--", "server"], "upstream.env", {"A": "1", "B": "2=3"}),
    (["forward", "--cwd", "/tmp", "--", "server"], "upstream.cwd", "/tmp"),
    (["forward", "--share", "--", "server"], "upstream.share", True),
    (["forward", "--no-share", "--", "server"], "upstream.share", False),
    (["forward", "--pool", "3", "--", "server"], "upstream.pool", 3),
    (["forward", "--header", "x-key=a=b", "http://server/mcp"], "upstream.headers", {"x-key": "a=b"}),
    (["forward", "--authorization", "passthrough", "http://server/mcp"], "upstream.authorization", "passthrough"),
    (["forward", "--upstream-http2", "http://server/mcp"], "upstream.http2", True),
    (["forward", "--request-timeout", "5", "http://server/mcp"], "timeouts.request", 5.0),
    (["forward", "--drain-timeout", "0", "http://server/mcp"], "timeouts.drain", 0.0),
    (["forward", "--path", "/here", "http://server/mcp"], "path", "/here"),
    (["forward", "--allow-host", "mcp.example", "http://server/mcp"], "allowed_hosts", ("mcp.example",)),
    (["forward", "--allow-origin", "https://app.example", "http://server/mcp"], "allowed_origins", ("https://app.example",)),
    (["forward", "--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a", "http://server/mcp"], "tls.client_ca", "a"),
    (["forward", "--http-engine", "hypercorn", "http://server/mcp"], "http_engine", "hypercorn"),
    (["forward", "--log-level", "debug", "http://server/mcp"], "log.level", "debug"),
    (["forward", "--log-format", "json", "http://server/mcp"], "log.format", "json"),
])  # fmt: skip
def test_every_option_reaches_its_setting(started: list[Config], words: list[str], path: str, value: object) -> None:
    assert main.run(words) == exits.OK
    found: object = started[0]
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_options_win_over_the_file(started: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text('listen = ["127.0.0.1:1"]\npath = "/file"\n[upstream]\nurl = "http://file/mcp"\n[timeouts]\nrequest = 7\n[upstream.headers]\na = "1"\n')
    assert main.run(["reverse", "--config", str(file), "--path", "/option", "--header", "b=2"]) == exits.OK
    config = started[0]
    assert (config.path, config.upstream.url, config.timeouts.request, config.listen) == ("/option", "http://file/mcp", 7, ("127.0.0.1:1",))
    assert config.upstream.headers == {"a": "1", "b": "2"}
    assert main.run(["reverse", "--config", str(file), "--", "server"]) == exits.USAGE, "headers have no effect on a command"


@pytest.mark.parametrize(("words", "said"), [
    ([], ""),
    (["forwrad", "http://x/mcp"], "forwrad"),
    (["reverse", "--lisen", "127.0.0.1:1", "http://x/mcp"], "--listen"),
    (["forward"], "no upstream"),
    (["forward", "my-server"], "forward -- my-server"),
    (["forward", "http://x/mcp", "--", "server"], "not both"),
    (["reverse", "http://x/mcp"], "--listen HOST:PORT"),
    (["reverse", "--listen", "127.0.0.1", "http://x/mcp"], "127.0.0.1:8080"),
    (["reverse", "--listen", "::1:80", "http://x/mcp"], "[::1]:8080"),
    (["forward", "ftp://x/mcp"], "ftp://x/mcp"),
    (["forward", "http://u:p@x/mcp"], "password"),
    (["forward", "--request-timeout", "soon", "http://x/mcp"], "--request-timeout"),
    (["forward", "--request-timeout", "-1", "http://x/mcp"], "request"),
    (["forward", "--authorization", "keep", "http://x/mcp"], "passthrough"),
    (["forward", "--env", "A", "--", "server"], "NAME=VALUE"),
    (["forward", "--header", "a b=c", "http://x/mcp"], "a b"),
    (["forward", "--config", "/nowhere.toml", "http://x/mcp"], "/nowhere.toml"),
    (["forward", "--pool", "0", "--", "server"], "pool"),
    (["forward", "--tls-cert", "c", "http://x/mcp"], "key"),
])  # fmt: skip
def test_what_cannot_be_meant_is_one_clear_line(started: list[Config], words: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main.run(words)
    out, err = capsys.readouterr()
    if not words:
        assert "Usage" in out, "no words at all: the help"
        return
    assert code == exits.USAGE
    assert not started
    assert out == ""
    assert err.startswith("shadowproxy: ")
    assert err.count("\n") == 1, err
    assert said in err


def test_every_fault_of_a_file_has_its_line(started: list[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text('lsten = ["127.0.0.1:1"]\n[upstream]\nurl = "http://x/mcp"\npool = "many"\n[timeouts]\nrequst = 5\n')
    assert main.run(["reverse", "--config", str(file)]) == exits.USAGE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(str(file) in line for line in lines)
    assert any("listen" in line for line in lines)
    file.write_text("listen = \n")
    assert main.run(["reverse", "--config", str(file)]) == exits.USAGE
    assert "line 1" in capsys.readouterr().err
