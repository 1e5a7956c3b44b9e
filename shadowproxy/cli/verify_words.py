"""What can be said after `verify`: its options, their help. Cyclopts reads them.

In: words. Out: `Wanted`. Nothing here starts or opens anything, so that the other verbs do not wait for what only this one needs.
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from cyclopts import Group, Parameter

from shadowproxy.cli.settings import pairs

_SERVER, _JUDGING, _RUNNING = Group("The server", sort_key=1), Group("What counts, and who is told", sort_key=2), Group("Running", sort_key=3)


def _say(help: str, group: Group) -> Any:
    return Parameter(help=help, group=group, negative="", show_default=False)


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Wanted:
    """The options of `verify`."""

    ignore: Annotated[list[str] | None, _say("A JSON pointer that does not count: /result/time, /**/id, tools/call:/result/content; may be repeated.", _JUDGING)] = None
    fail_on: Annotated[str | None, _say("Verdicts that make the exit code 4, with commas between: changed, error-shape-changed, missing, extra (default all), or none.", _JUDGING)] = None
    json: Annotated[str | None, Parameter(help="Write a JSON report to this file; - for standard output.", group=_JUDGING, allow_leading_hyphen=True)] = None
    junit: Annotated[str | None, _say("Write a JUnit XML report to this file.", _JUDGING)] = None
    verbose: Annotated[bool, _say("Show what matched, too.", _JUDGING)] = False
    config: Annotated[str | None, _say("A TOML file with settings for the server; options win over it.", _SERVER)] = None
    env: Annotated[list[str] | None, _say("KEY=VALUE for the command; may be repeated.", _SERVER)] = None
    cwd: Annotated[str | None, _say("The command's working directory.", _SERVER)] = None
    header: Annotated[list[str] | None, _say("NAME=VALUE sent with every request to the URL; may be repeated.", _SERVER)] = None
    upstream_http2: Annotated[bool, _say("Speak HTTP/2 to the URL.", _SERVER)] = False
    request_timeout: Annotated[float | None, _say("Seconds until a request must be answered; a message of its stream extends it (default 60).", _RUNNING)] = None
    patience: Annotated[float, _say("Seconds that the next request waits for notifications which the tape has before it (default 5).", _RUNNING)] = 5.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"] | None, _say("What is logged, on standard error (default warning).", _RUNNING)] = None

    def settings(self) -> dict[str, Any]:
        """By their paths in the settings."""
        return {
            "upstream.env": pairs("--env", self.env), "upstream.cwd": self.cwd, "upstream.headers": pairs("--header", self.header),
            "upstream.http2": self.upstream_http2 or None, "timeouts.request": self.request_timeout, "log.level": self.log_level or "warning",
        }  # fmt: skip
