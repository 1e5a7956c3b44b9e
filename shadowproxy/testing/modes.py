"""Record modes: what a test does with its tape, and who decides. Pure code.

In: what the command line, the environment and pytest's configuration say. Out: one `Mode`.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

Mode: TypeAlias = Literal["none", "once", "new_episodes", "all", "rewrite"]
"""none: answer from the tape, and touch nothing live. once: the same, but record if there is no tape yet. new_episodes: answer from the tape, and ask the
live server for what is not on it, which is added. all: ask the live server everything, and add the session to the tape. rewrite: the same, in the tape's place."""
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
VARIABLE: Final = "SHADOWPROXY_TAPE_MODE"


class WrongMode(ValueError):
    """There is no such mode; the message says where it was asked for."""


def mode_in_force(option: str | None, configured: str, environment: Mapping[str, str]) -> Mode:
    """`option` is `--tape-mode`, `configured` the `tape_mode` of pytest's configuration. The option counts most, then the environment; what the
    configuration says is for people: where `CI` is set it counts for nothing. Raises `WrongMode`."""
    said = [("--tape-mode", option or ""), (VARIABLE, environment.get(VARIABLE, ""))]
    if environment.get("CI", "").lower() in ("", "0", "false"):
        said.append(("tape_mode", configured))
    for where, text in said:
        if text:
            return _mode(where, text)
    return "none"


def _mode(where: str, text: str) -> Mode:
    for mode in MODES:
        if text == mode:
            return mode
    raise WrongMode(f"{where} {text!r}: it is none of {', '.join(MODES)}")
