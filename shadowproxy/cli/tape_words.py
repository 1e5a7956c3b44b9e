"""What can be said after `shadowproxy tape`: the verbs, their options, their help.

In: nothing. Out: the group for `words.py`. What a verb needs is imported when it is called, so that the proxy's own verbs start without it.
"""
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import App, Parameter

from shadowproxy.cli import exits
from shadowproxy.cli.piped import piped

HELP = "Look at tapes, cut them, compare them, bring them to and from other programs. --record makes them."
EXAMPLES = """A filter says which messages: method:tools/call & tool:search & dur>200ms & !err
docs/tapes.md has its words, and the format of a tape."""
Tape = Annotated[str, Parameter(help="A tape: name.jsonl, or compressed name.jsonl.zst.")]
Text = Annotated[str | None, Parameter(help="Which messages, as in 'tool:search & dur>200ms & !err' (default all).")]
Json = Annotated[bool, Parameter(help="For programs: JSON, a line each.", negative="")]
Full = Annotated[bool, Parameter(help="Whole messages, over several lines.", negative="")]
Out = Annotated[str, Parameter(name=["--output", "-o"], help="The file to write; with the suffix .zst it is compressed. What is there is replaced when all went well.")]
Paths = Annotated[list[str], Parameter(help="Tapes, or directories of them.")]


def tape_app() -> App:
    """The group."""
    app = App(name="tape", help=HELP, default_parameter=Parameter(show_default=False), help_epilogue=EXAMPLES, help_format="plaintext", version_flags=[], result_action="return_value")
    _looking(app)
    _comparing(app)
    _making(app)
    _crossing(app)
    return app


def _looking(app: App) -> None:
    @app.command(name="list")
    def list_(paths: Paths, /, *, json: Json = False) -> int:
        """A line a tape: when, how long, how many frames, which server."""
        from shadowproxy.cli import tape

        return _piped(lambda: tape.list_(paths, as_json=json))

    @app.command
    def show(tape: Tape, filter: Text = None, /, *, full: Full = False, json: Json = False) -> int:
        """The messages of a tape, a line each."""
        from shadowproxy.cli import tape as verbs

        return _piped(lambda: verbs.show(tape, filter, full=full, as_json=json))

    @app.command
    def tail(path: Annotated[str, Parameter(help="A tape, or a directory of them, that is being written.")], filter: Text = None, /, *,
             last: Annotated[int, Parameter(name=["--last", "-n"], help="So many of those that are there already (default 10).")] = 10,
             full: Full = False, json: Json = False) -> int:  # fmt: skip
        """The messages of a tape as they are recorded, until Ctrl-C; of a directory, also those of new tapes."""
        from shadowproxy.cli import tape

        return _piped(lambda: tape.tail(path, filter, last=last, full=full, as_json=json))

    @app.command
    def stats(paths: Paths, /, *, filter: Annotated[str | None, Parameter(help="Count only these messages.")] = None, json: Json = False) -> int:
        """How many messages of which methods and tools, how long they took, how many failed."""
        from shadowproxy.cli import tape

        return _piped(lambda: tape.stats(paths, filter, as_json=json))


def _comparing(app: App) -> None:
    @app.command
    def diff(a: Annotated[str, Parameter(help="The tape of before.")], b: Annotated[str | None, Parameter(help="The tape of after.")] = None, /, *,
             format: Annotated[Literal["text", "json", "markdown"], Parameter(help="How it is told (default text).")] = "text",
             ignore: Annotated[list[str] | None, Parameter(help="A JSON pointer that does not count, as in /result/time or /**/id; may be repeated.", negative="")] = None,
             surface: Annotated[bool, Parameter(help="Only what the server offers; of one tape, how that changed between its sessions.", negative="")] = False,
             fail_on: Annotated[Literal["any", "info", "minor", "dangerous", "breaking", "none"],
                                Parameter(help="What makes the exit code 4: any difference, or a change of the surface of that grade or worse (default any).")] = "any") -> int:  # fmt: skip
        """How a tape differs from another, and how the server's tools, prompts and resources changed."""
        from shadowproxy.cli import tape_comparing

        return _piped(lambda: tape_comparing.diff(a, b, format=format, ignore=ignore or (), surface=surface, fail_on=fail_on))

    @app.command
    def scan(paths: Paths, /, *, json: Json = False,
             entropy: Annotated[bool, Parameter(help="Also whatever looks like chance, which is often no secret but an id.", negative="")] = False) -> int:  # fmt: skip
        """Secrets that are still on tapes; exit code 4 if there are any."""
        from shadowproxy.cli import tape_comparing

        return _piped(lambda: tape_comparing.scan(paths, entropy=entropy, as_json=json))


def _making(app: App) -> None:
    @app.command(name="filter")
    def filter_(tape: Tape, filter: Annotated[str, Parameter(help="Which exchanges, as in 'tool:search & dur>200ms'.")], /, *, out: Out,
                frames: Annotated[bool, Parameter(help="Only the very frames, without the rest of their exchanges.", negative="")] = False) -> int:  # fmt: skip
        """A tape with those exchanges that have a message the filter is true of."""
        from shadowproxy.cli import tape_making

        return tape_making.filter_(tape, filter, out, frames_only=frames)

    @app.command
    def redact(tape: Tape, out: Annotated[str, Parameter(help="The file to write; may be the same.")], /, *,
               key: Annotated[list[str] | None, Parameter(help="A further JSON member whose value is replaced; may be repeated.", negative="")] = None,
               pointer: Annotated[list[str] | None, Parameter(help="A JSON pointer whose value is replaced, as in /params/arguments/pin; may be repeated.", negative="")] = None,
               pattern: Annotated[list[str] | None, Parameter(help="A regular expression; what it matches is replaced; may be repeated.", negative="")] = None) -> int:  # fmt: skip
        """The same tape without secrets, each replaced by a token that is the same for the same secret."""
        from shadowproxy.cli import tape_making

        return tape_making.redact(tape, out, keys=key or (), pointers=pointer or (), patterns=pattern or ())

    @app.command
    def convert(tape: Tape, out: Annotated[str, Parameter(help="The file to write.")], /) -> int:
        """The same tape in the current version of the format; compressed or not, as the suffix .zst says."""
        from shadowproxy.cli import tape_making

        return tape_making.convert(tape, out)


def _crossing(app: App) -> None:
    @app.command
    def export(tape: Tape, filter: Text = None, /, *, format: Annotated[Literal["har", "html", "pytest"], Parameter(help="What to make of it.")], out: Out) -> int:
        """For other programs: a HAR document, a web page that plays the tape by itself, a test."""
        from shadowproxy.cli import tape_making

        return tape_making.export(tape, filter, format, out)

    @app.command(name="import")
    def import_(file: Annotated[str, Parameter(help="A log of mcpsnoop, or a cassette of npm's or PyPI's mcp-cassette.")], /, *, out: Out) -> int:
        """A tape from another tool's recording."""
        from shadowproxy.cli import tape_making

        return tape_making.import_(file, out)


def _piped(verb: Callable[[], int]) -> int:
    code = exits.OK
    with piped():
        code = verb()
        sys.stdout.flush()
    return code
