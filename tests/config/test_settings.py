"""The settings: defaults that stand, contradictions that are refused, every setting documented."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import attrs
import pytest

from shadowproxy.config import Config, Limits, Log, Record, Replay, Timeouts, Tls, Upstream, load
from shadowproxy.errors import ConfigError

CLI_PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
SECTIONS: dict[str, type] = {"upstream": Upstream, "limits": Limits, "timeouts": Timeouts, "tls": Tls, "record": Record, "replay": Replay, "log": Log}


def every_setting() -> list[str]:
    """Paths as one writes them in a file, but for `stdio`, which the verb decides."""
    top = [a.name for a in attrs.fields(Config) if a.name not in SECTIONS and a.name != "stdio"]
    return top + [f"{section}.{a.name}" for section, kind in SECTIONS.items() for a in attrs.fields(kind)]


def test_the_defaults_are_valid() -> None:
    config = Config(upstream=Upstream(command=("server",)))
    assert (config.path, config.listen, config.stdio) == ("/mcp", (), False)


def test_every_section_is_known_here() -> None:
    """A new section that this file does not know would go undocumented."""
    found = {name for name, kind in get_type_hints(Config).items() for part in (kind, *get_args(kind)) if isinstance(part, type) and attrs.has(part)}
    assert found == set(SECTIONS)


@pytest.mark.parametrize("setting", every_setting())
def test_every_setting_is_documented(setting: str) -> None:
    """In the example of docs/cli.md, under its own table."""
    *section, key = setting.split(".")
    example = re.search(r"```toml\n(.*?)```", CLI_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    top, *tables = re.split(r"^#? ?\[", example[1], flags=re.MULTILINE)
    bodies = {body.split("]")[0]: body for body in tables}
    body = bodies.get(section[0], "") + "".join(text for name, text in bodies.items() if name == setting) if section else top
    assert re.search(rf"^#? ?{key} = ", body, re.MULTILINE) or setting in bodies, f"docs/cli.md does not show {setting}"


@pytest.mark.parametrize(
    ("upstream", "what"),
    [
        ({}, "either url or command"), ({"url": "http://x", "command": ("a",)}, "not both"), ({"command": ("",)}, "begin with a program"),
        ({"url": "http://x", "env": {"A": "b"}}, "env: has no effect"), ({"url": "http://x", "cwd": "/"}, "cwd: has no effect"),
        ({"url": "http://x", "share": True}, "share: has no effect"), ({"command": ("a",), "headers": {"X": "y"}}, "headers: has no effect"),
        ({"command": ("a",), "authorization": "passthrough"}, "authorization: has no effect"), ({"command": ("a",), "http2": True}, "http2: has no effect"),
        ({"tape": "t", "url": "http://x", "command": ("a",)}, "not both"), ({"tape": ""}, "tape: must be the path"), ({"tape": "t", "env": {"A": "b"}}, "env: has no effect on a tape"),
        ({"tape": "t", "headers": {"X": "y"}}, "headers: has no effect on a tape"), ({"tape": "t", "pool": 3}, "pool: has no effect on a tape"),
        ({"tape": "t", "authorization": "passthrough"}, "authorization: has no effect on a tape"), ({"tape": "t", "url": "http://x", "share": True}, "share: has no effect on a url"),
        ({"command": "npx server"}, "command: must be a tuple"), ({"url": "http://x", "pool": 0}, "pool: must be"),
    ],
)  # fmt: skip
def test_an_upstream_that_cannot_be_meant(upstream: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Upstream(**upstream)


@pytest.mark.parametrize(("upstream", "on_miss"), [
    ({"tape": "t"}, "error"), ({"tape": "t"}, "warn"), ({"tape": "t", "url": "http://x"}, "forward"), ({"tape": "t", "command": ("a",)}, "record"),
])  # fmt: skip
def test_a_tape_and_what_may_stand_beside_it(upstream: dict[str, Any], on_miss: Literal["error", "warn", "forward", "record"]) -> None:
    config = Config(upstream=Upstream(**upstream), replay=Replay(on_miss=on_miss))
    assert config.upstream.live is (len(upstream) == 2)


@pytest.mark.parametrize(("upstream", "replay", "what"), [
    ({"url": "http://x"}, {"order": "strict"}, "replay: has no effect without a tape"), ({"tape": "t"}, {"on_miss": "forward"}, "'forward' needs a live server"),
    ({"tape": "t", "url": "http://x"}, {}, "replay.on_miss: must be 'forward' or 'record'"), ({"tape": "t", "command": ("a",)}, {"on_miss": "warn"}, "leave the server out"),
])  # fmt: skip
def test_a_replay_that_cannot_be_meant(upstream: dict[str, Any], replay: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Config(upstream=Upstream(**upstream), replay=Replay(**replay))


def test_a_longer_request_raises_its_maximum_unless_that_is_given() -> None:
    assert Timeouts().request_max == 600
    assert Timeouts(request=900).request_max == 900
    with pytest.raises(ConfigError, match=r"request_max: .* \(900\)"):
        Timeouts(request=900, request_max=3)


@pytest.mark.parametrize("section", [Limits, Timeouts])
def test_every_number_is_checked(section: type) -> None:
    for attribute in attrs.fields(section):
        with pytest.raises(ConfigError, match=attribute.name):
            section(**{attribute.name: -1})


def test_the_documented_example_is_the_defaults() -> None:
    """What the page calls a default is one, and the example can be copied as it stands."""
    example = re.search(r"```toml\n(.*?)```", CLI_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    assert load(example[1]) == Config(upstream=Upstream(command=("my-server", "--flag")))
