"""The tape verbs that judge: diff, scan. Exit code 4 if there is something.

In: what was asked for. Out: text on standard output, an exit code.
"""
from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shadowproxy.cli import exits
from shadowproxy.cli.tape_files import existing, faults, progress, reading, say, say_torn, those_of, watched
from shadowproxy.errors import ConfigError
from shadowproxy.tape.terminal import plain

if TYPE_CHECKING:
    from shadowproxy.tape.comparing.diff import FailOn
    from shadowproxy.tape.comparing.drift_report import Format
    from shadowproxy.tape.redaction.scan import Finding


def diff(a: str, b: str | None, *, format: Format, ignore: Sequence[str], surface: bool, fail_on: FailOn) -> int:
    """What has become of a tape, or only of what its server offers."""
    if surface and ignore:
        raise ConfigError("--ignore is for messages; what a server offers is compared as a whole with --surface")
    if surface:
        return _drift([a] if b is None else [a, b], format, fail_on)
    if b is None:
        raise ConfigError("tape diff needs two tapes; of one, it tells how its server's tools changed between sessions: shadowproxy tape diff TAPE --surface")
    from shadowproxy.tape.comparing.diff import run
    from shadowproxy.tape.matching.jsondiff import BadPointer

    first, second = existing(a), existing(b)
    try:
        with faults(), progress("comparing") as moved:
            outcome = run(first, second, format, sys.stdout, ignore=ignore, progress=moved)
    except BadPointer as error:
        raise ConfigError(f"--ignore: {error}") from None
    for path in outcome.torn:
        say_torn(path)
    return exits.DIFFERENT if outcome.fails(fail_on) else exits.OK


def _drift(tapes: Sequence[str], format: Format, fail_on: FailOn) -> int:
    from shadowproxy.tape.comparing.drift import reaches, run

    with faults():
        grade = run([existing(tape) for tape in tapes], format, sys.stdout)
    if fail_on == "none" or grade is None:
        return exits.OK
    return exits.DIFFERENT if fail_on == "any" or reaches(grade, fail_on) else exits.OK


def scan(paths: Iterable[str], *, entropy: bool, as_json: bool) -> int:
    """Secrets that slipped through, without showing them."""
    from shadowproxy.tape.redaction.scan import scan as find

    count, names = 0, those_of(paths)
    for name in names:
        with reading(str(name)) as tape:
            for finding in find(watched(tape, "scanning"), tape.header, entropy=entropy):
                count += 1
                _tell(name, finding, as_json=as_json)
    if count:
        say(f"{count} finding(s); to replace them: shadowproxy tape redact TAPE OUT; what is no secret after all: docs/tapes.md")
    elif names:
        say("no secrets found")
    return exits.DIFFERENT if count else exits.OK


def _tell(name: Path, finding: Finding, *, as_json: bool) -> None:
    if as_json:
        told = {"tape": str(name), "n": finding.n, "where": finding.where, "rule": finding.rule, "excerpt": finding.excerpt}
        print(msgspec.json.encode(told).decode())
    else:
        print(f"{plain(str(name))}: frame {finding.n}: {plain(finding.where)}: {finding.rule}: {plain(finding.excerpt)}")
