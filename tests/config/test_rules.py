"""The rules, each on a small class: what passes, what is told of what does not."""
from __future__ import annotations

import math

import attrs
import pytest

from shadowproxy.config import rules


@attrs.frozen(kw_only=True)
class Sample:
    count: int = attrs.field(default=1, validator=rules.whole(1))
    most: int | None = attrs.field(default=None, validator=rules.whole(1))
    wait: float = attrs.field(default=1, validator=rules.seconds(zero=False))
    grace: float = attrs.field(default=0, validator=rules.seconds(zero=True))
    share: bool | None = attrs.field(default=None, validator=rules.switch)
    on: bool = attrs.field(default=False, validator=rules.switch)
    word: str = attrs.field(default="a", validator=rules.one_of("a", "b"))
    names: tuple[str, ...] = attrs.field(default=(), validator=rules.texts(lambda text: "must be a" if text != "a" else None))
    pairs: dict[str, str] = attrs.field(factory=dict, validator=[rules.pairs(lambda name, value: "is bad" if value == "secret" else None), rules.different_names])


@pytest.mark.parametrize(
    "good", [{"count": 7}, {"most": 3}, {"most": None}, {"wait": 0.1}, {"grace": 0}, {"share": None}, {"on": True}, {"word": "b"}, {"names": ("a",)}, {"pairs": {"x": "y"}}]
)
def test_what_can_be_meant(good: dict[str, object]) -> None:
    Sample(**good)  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", 0), ("count", -1), ("count", True), ("count", 1.0), ("count", "1"), ("count", None), ("most", 0), ("wait", 0), ("wait", -1), ("wait", math.inf),
     ("wait", math.nan), ("wait", True), ("wait", "1"), ("wait", None), ("grace", -0.1), ("share", 1), ("on", None), ("word", "c"), ("names", "a"),
     ("names", ("b",)), ("names", (1,)), ("pairs", {"x": 1}), ("pairs", {"x": "1", "X": "2"})],
)  # fmt: skip
def test_what_cannot_be_meant_is_named(name: str, value: object) -> None:
    with pytest.raises(rules.WrongValue) as caught:
        Sample(**{name: value})  # type: ignore[arg-type]  # the point
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


def test_values_of_pairs_are_not_told() -> None:
    with pytest.raises(rules.WrongValue) as caught:
        Sample(pairs={"token": "secret"})
    assert "secret" not in str(caught.value)


def test_passwords_in_urls_are_not_told() -> None:
    assert rules.shown("http://user:hunter2@x/mcp") == "'http://…@x/mcp'"


def test_a_long_value_is_cut() -> None:
    assert len(rules.shown("x" * 1000)) < 100


def test_did_you_mean() -> None:
    assert rules.did_you_mean("comand", ["command", "cwd"]) == " - did you mean 'command'?"
    assert rules.did_you_mean("zzz", ["command", "cwd"]) == ""
