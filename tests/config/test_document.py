"""TOML to settings: strict, with every fault found in one reading, each named by its path with the mend."""
from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config import Config, Fault, InvalidConfig, Upstream, load, read, structure
from shadowproxy.errors import ConfigError

SERVER = '[upstream]\ncommand = ["server", "--flag"]\n'


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, "proxy.toml")
    return [line.removeprefix("proxy.toml: ") for line in str(caught.value).splitlines()]


def test_a_whole_document() -> None:
    config = load("""
        listen = ["127.0.0.1:8080", "[::1]:8080"]
        path = "/here"
        allowed_hosts = ["mcp.example.com"]
        [upstream]
        url = "https://example.org/mcp"
        headers = { X-Key = "k" }
        authorization = "passthrough"
        pool = 4
        [limits]
        sessions = 5
        [timeouts]
        request = 7
        [tls]
        cert = "c.pem"
        key = "k.pem"
        [log]
        level = "debug"
        format = "json"
    """)
    assert config.listen == ("127.0.0.1:8080", "[::1]:8080")
    assert config.upstream == Upstream(url="https://example.org/mcp", headers={"X-Key": "k"}, authorization="passthrough", pool=4)
    assert (config.limits.sessions, config.timeouts.request, config.log.level, config.path) == (5, 7.0, "debug", "/here")
    assert config.tls is not None
    assert config.tls.client_ca is None


def test_what_is_not_said_is_the_default() -> None:
    assert load(SERVER) == Config(upstream=Upstream(command=("server", "--flag")))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[upstream]\ncomand = ['x']\nurl = 'http://x'", "$.upstream.comand: unknown key - did you mean 'command'?"),
        ("zzz = 1\n" + SERVER, "$.zzz: unknown key (known are upstream, stdio, listen, path,"),
        ("", "$.upstream: is missing"),
        ("upstream = 3", "$.upstream: must be a table, not 3"),
        ("[upstream]\ncommand = 'npx server'", '$.upstream.command: must be an array of strings, such as ["npx server"], not \'npx server\''),
        ("[upstream]\ncommand = ['a', 1]", "$.upstream.command: must be an array of strings"),
        ("[upstream]\n[upstream.env]\nA = 1", "$.upstream.env.A: must be a string, not 1"),
        (SERVER + "[limits]\nbody = '5'", "$.limits.body: must be a whole number, not '5'"),
        (SERVER + "[limits]\nbody = true", "$.limits.body: must be a whole number, not True"),
        (SERVER + "[limits]\nbody = 0", "$.limits.body: must be a whole number, 1 or more, not 0"),
        (SERVER + "[timeouts]\nrequest = inf", "$.timeouts.request: must be a number of seconds, more than 0, not inf"),
        (SERVER + "[log]\nlevel = 'warn'", "$.log.level: must be 'debug' or 'info' or 'warning' or 'error', not 'warn' - did you mean 'warning'?"),
        (SERVER + "[tls]\ncert = 'x'", "$.tls.key: is missing: TLS needs a certificate and its key"),
        ("listen = '127.0.0.1:80'\n" + SERVER, '$.listen: must be an array of strings, such as ["127.0.0.1:80"]'),
        (SERVER + "url = 'http://x'", "$.upstream: give one server, either url or command, not both"),
        (SERVER + "headers = { X = 'y' }", "$.upstream.headers: has no effect on a command; leave it out"),
        (SERVER + "[timeouts]\nrequest = 9\nrequest_max = 3", "$.timeouts.request_max: must be request (9) at least, not 3"),
        ("a = \n", "not valid TOML: Invalid value (at line 1, column 5)"),
    ],
)
def test_a_fault_is_one_line_with_path_and_mend(text: str, line: str) -> None:
    found = faults(text)
    assert len(found) == 1
    assert found[0].startswith(line)


def test_every_fault_is_found_at_once() -> None:
    found = faults("path = 'mcp'\nlisen = []\n[upstream]\npool = 0\nurl = 'ftp://x'\n[limits]\nbody = 0\nhead = -1\n[timeouts]\ndrain = 'x'\n")
    assert sorted(line.split(":")[0] for line in found) == [
        "$.limits.body", "$.limits.head", "$.lisen", "$.path", "$.timeouts.drain", "$.upstream.pool", "$.upstream.url",
    ]  # fmt: skip


def test_a_secret_is_not_told() -> None:
    assert "hunter2" not in "".join(faults("[upstream]\nurl = 'http://me:hunter2@x/'"))
    assert "hunter2" not in "".join(faults("[upstream]\nurl = 'http://x/'\n[upstream.headers]\n'X Y' = 'hunter2'"))


def test_faults_are_data_too() -> None:
    with pytest.raises(InvalidConfig) as caught:
        structure({"upstream": {"command": ["x"], "env": {"A": 1}}})
    assert caught.value.faults == (Fault(("upstream", "env", "A"), "must be a string, not 1"),)


_VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
_KEYS = st.sampled_from([a.name for a in attrs.fields(Config)]) | st.text(max_size=5)


@given(st.dictionaries(_KEYS, _VALUES | st.dictionaries(st.sampled_from([a.name for a in attrs.fields(Upstream)]), _VALUES), max_size=4))
def test_no_document_gets_past_the_faults(document: dict[str, object]) -> None:
    """Any shape of document is a `Config` or a `ConfigError`, never another exception."""
    try:
        assert isinstance(structure(document), Config)
    except ConfigError as error:
        assert str(error)


def test_reading_needs_no_settings() -> None:
    assert read("a = 1") == {"a": 1}
