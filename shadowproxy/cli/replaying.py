"""The verb `replay`: a tape that answers in its server's place -> a running proxy -> an exit code.

In: a tape's name, options by path, and for `--on-miss forward` or `record` the live server. Out: the exit code. It runs as `forward` does: on standard
input and output, or with listeners on HTTP.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from shadowproxy.cli import proxying
from shadowproxy.cli.settings import settle
from shadowproxy.tape.replaying.replay_opening import check


def replay(tape: str, file: str | None, target: str | None, command: Sequence[str], options: dict[str, Any]) -> int:
    """Answer from it. Raises `ConfigError` before anything has started."""
    config = settle(file, target, command, {**options, "upstream.tape": tape})
    check(Path(tape))
    return proxying.start(config if config.listen else attrs.evolve(config, stdio=True))
