"""The verb `verify`: a tape, and the server that it is played against -> reports -> an exit code.

In: words. Out: text on standard output, files where they were asked for, progress on standard error. The upstream is opened as the
proxy opens it, with nothing else of the proxy around it; its block owns everything that runs.
"""
from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import attrs

from shadowproxy.cli import exits, logs, proxying
from shadowproxy.cli.piped import piped
from shadowproxy.cli.settings import is_url, no_url, settle
from shadowproxy.cli.tape_files import reading, say, watched
from shadowproxy.cli.verify_words import Wanted
from shadowproxy.config import Config
from shadowproxy.errors import ConfigError
from shadowproxy.server import open_upstream
from shadowproxy.service import running
from shadowproxy.tape.matching.jsondiff import VOLATILE, BadPointer, Ignoring
from shadowproxy.tape.reader import Reading
from shadowproxy.tape.recording.opening import name_of
from shadowproxy.tape.verifying.report import JsonReport, JUnitReport, Report, TextReport
from shadowproxy.tape.verifying.verdicts import VERDICTS, Finding, Verdict
from shadowproxy.tape.verifying.verify import Patience, Verifier
from shadowproxy.watch import Watch

FAILING: Final = tuple(verdict for verdict in VERDICTS if verdict != "MATCH")


def verify(tape: str, target: str | None, command: Sequence[str], wanted: Wanted) -> int:
    """Play it, and say what came of it."""
    if target is not None and not is_url(target):
        raise no_url("verify TAPE", [target])
    if target is None and not command and wanted.config is None:
        raise ConfigError(f"no server to verify: give its URL, or its command after --, as in: shadowproxy verify {tape} -- my-server --flag")
    config = settle(wanted.config, target, command, wanted.settings())
    # One client, as on standard input: no child is spawned ahead of another.
    config = attrs.evolve(config, stdio=True, listen=())
    failing, ignoring = _verdicts(wanted.fail_on), _ignoring(wanted.ignore or ())
    if not wanted.patience >= 0:
        raise ConfigError("--patience must be 0 or more seconds")
    logs.configure(config.log.level, config.log.format)
    with ExitStack() as stack:
        tape_open = stack.enter_context(reading(tape))
        reports = _reports(stack, tape, name_of(config), wanted, failing)
        return proxying.run(partial(_play, config, tape_open, reports, ignoring, wanted.patience, failing))


async def _play(config: Config, tape: Reading, reports: Sequence[Report], ignoring: Ignoring, patience: float, failing: frozenset[Verdict]) -> int:
    def tell(finding: Finding) -> None:
        for report in reports:
            with piped():  # who has had enough of the text may still want the exit code, and the reports in files
                report.finding(finding)

    watch = Watch()
    try:
        async with running(watch.run), open_upstream(config, watch) as upstream:
            verifier = Verifier(upstream, tell, ignoring, Patience(config.timeouts.request, patience))
            tally = await verifier.run(watched(tape, "verifying"))
    finally:
        watch.close()
    for report in reports:
        with piped():
            report.end(tally)
            sys.stdout.flush()
    if tally.findings and not tally.counts["MATCH"] and not tally.counts["CHANGED"]:
        say("nothing was answered as recorded: is it the right server, and has it what it needs (--header, --env, --cwd)?")
    return exits.DIFFERENT if any(tally.counts[verdict] for verdict in failing) else exits.OK


def _reports(stack: ExitStack, tape: str, against: str, wanted: Wanted, failing: frozenset[Verdict]) -> list[Report]:
    """Text on standard output, unless JSON is to go there."""
    reports: list[Report] = [] if wanted.json == "-" else [TextReport(sys.stdout, verbose=wanted.verbose)]
    if wanted.json is not None:
        reports.append(JsonReport(sys.stdout if wanted.json == "-" else _created(stack, "--json", wanted.json), tape, against))
    if wanted.junit is not None:
        passing = frozenset(VERDICTS) - failing
        reports.append(stack.enter_context(JUnitReport(_created(stack, "--junit", wanted.junit), Path(tape).name, passing)))
    return reports


def _created(stack: ExitStack, option: str, name: str) -> TextIO:
    try:
        return stack.enter_context(Path(name).open("w", encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{option} {name}: {error.strerror}") from None


def _verdicts(text: str | None) -> frozenset[Verdict]:
    """`changed,missing` -> those."""
    names = {verdict.lower(): verdict for verdict in FAILING}
    if text is None:
        return frozenset(FAILING)
    words = [word.strip().lower() for word in text.split(",")]
    if words == ["none"]:
        return frozenset()
    if wrong := [word for word in words if word not in names]:
        raise ConfigError(f"--fail-on {wrong[0]!r}: it is none of {', '.join(names)}, none")
    return frozenset(names[word] for word in words)


def _ignoring(pointers: Iterable[str]) -> Ignoring:
    try:
        return VOLATILE.and_also(pointers)
    except BadPointer as error:
        raise ConfigError(f"--ignore {error}") from None
