"""What can be said on the command line: verbs, options, their help. Cyclopts reads them.

In: words, and the command that stood after `--`. Out: a call of a verb, whose exit code is given back. Raises `ConfigError` for words that
cannot be meant, one line each.
"""
from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import attrs
import cyclopts
from cyclopts import App, Group, Parameter

from shadowproxy.cli import proxying
from shadowproxy.cli.replay_words import Rules
from shadowproxy.cli.settings import is_url, no_url, pairs
from shadowproxy.cli.tape_words import tape_app
from shadowproxy.cli.verbs import VERBS
from shadowproxy.cli.verify_words import Wanted
from shadowproxy.errors import ConfigError

HELP = "A proxy for the Model Context Protocol: it stands between MCP clients and MCP servers, and neither notices."
EXAMPLES = """Examples:
  shadowproxy -- my-server --flag
      what one pastes into a client's configuration
  shadowproxy forward https://example.org/mcp
      a client on stdio, a server on HTTP
  shadowproxy forward --listen 127.0.0.1:8080 -- my-server
      many clients on HTTP, each with a server of its own
  shadowproxy reverse --listen 127.0.0.1:8080 http://127.0.0.1:9000/mcp
      in front of a server on HTTP
  shadowproxy replay tape.jsonl
      a server that answers as the tape's did
  shadowproxy verify tape.jsonl -- my-server
      whether a server still answers as it did when the tape was made

Everything after -- is the server's command, verbatim. Exit codes:
0 ended as asked, 1 a bug, 2 a wrong word or setting, 3 cannot listen,
4 a server or tape differs, 130 cut short by a second signal."""
_SERVER, _LISTENING, _RUNNING = Group("The server behind", sort_key=1), Group("Listening", sort_key=2), Group("Running", sort_key=3)
Target = Annotated[str | None, Parameter(help="The server's URL. For a command, put it after -- instead.")]


def _say(help: str, group: Group) -> Any:
    return Parameter(help=help, group=group, negative="")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Options:
    """What forward and reverse share."""

    config: Annotated[str | None, _say("A TOML file with the same settings; options win over it.", _RUNNING)] = None
    listen: Annotated[list[str] | None, _say("HOST:PORT, [::1]:PORT or unix:/path; may be repeated. Port 0 takes a free one.", _LISTENING)] = None
    path: Annotated[str | None, _say("The path of the MCP endpoint (default /mcp).", _LISTENING)] = None
    allow_host: Annotated[list[str] | None, _say("A further Host that is served; may be repeated.", _LISTENING)] = None
    allow_origin: Annotated[list[str] | None, _say("A web page's Origin that may send requests; may be repeated.", _LISTENING)] = None
    tls_cert: Annotated[str | None, _say("Serve TLS with this certificate (PEM).", _LISTENING)] = None
    tls_key: Annotated[str | None, _say("Its key (PEM).", _LISTENING)] = None
    tls_client_ca: Annotated[str | None, _say("Clients must show a certificate of this authority (PEM).", _LISTENING)] = None
    http_engine: Annotated[Literal["native", "hypercorn"] | None, _say("What serves HTTP/1.1 (default native).", _LISTENING)] = None
    env: Annotated[list[str] | None, _say("KEY=VALUE for the command; may be repeated.", _SERVER)] = None
    cwd: Annotated[str | None, _say("The command's working directory.", _SERVER)] = None
    header: Annotated[list[str] | None, _say("NAME=VALUE sent with every request to the URL; may be repeated.", _SERVER)] = None
    authorization: Annotated[Literal["strip", "passthrough"] | None, _say("What becomes of the client's Authorization and Cookie (default strip).", _SERVER)] = None
    upstream_http2: Annotated[bool, _say("Speak HTTP/2 to the URL.", _SERVER)] = False
    pool: Annotated[int | None, _say("Most connections or child processes at once.", _SERVER)] = None
    share: Annotated[bool | None, Parameter(help="One child process for many clients (default: 2026-07-28 yes, older revisions no).", group=_SERVER)] = None
    record: Annotated[str | None, _say("Put every exchange on tape: a file (name.jsonl), or a directory with a file a session.", _RUNNING)] = None
    request_timeout: Annotated[float | None, _say("Seconds until a request must be answered; progress extends it (default 60).", _RUNNING)] = None
    drain_timeout: Annotated[float | None, _say("Seconds that requests under way get at the end (default 30).", _RUNNING)] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"] | None, _say("What is logged, on standard error (default info).", _RUNNING)] = None
    log_format: Annotated[Literal["text", "json"] | None, _say("How (default text).", _RUNNING)] = None

    def settings(self) -> dict[str, Any]:
        """By their paths in the settings."""
        return {
            "listen": self.listen, "path": self.path, "allowed_hosts": self.allow_host, "allowed_origins": self.allow_origin,
            "tls.cert": self.tls_cert, "tls.key": self.tls_key, "tls.client_ca": self.tls_client_ca, "http_engine": self.http_engine,
            "upstream.env": pairs("--env", self.env), "upstream.cwd": self.cwd, "upstream.headers": pairs("--header", self.header),
            "upstream.authorization": self.authorization, "upstream.http2": self.upstream_http2 or None, "upstream.pool": self.pool,
            "upstream.share": self.share, "record.path": self.record, "timeouts.request": self.request_timeout, "timeouts.drain": self.drain_timeout,
            "log.level": self.log_level, "log.format": self.log_format,
        }  # fmt: skip


_DEFAULTS = Options()
_ALL = Wanted()
_RULES = Rules()


def parse(words: Sequence[str], command: Sequence[str]) -> int:
    """Understand `words` and do what they say; give the exit code."""
    app = App(name="shadowproxy", help=HELP, help_epilogue=EXAMPLES, help_format="plaintext", version_flags=[], result_action="return_value")

    @app.command
    def forward(target: Target = None, /, *, options: Options = _DEFAULTS) -> int:
        """stdio in, or with --listen HTTP in: many clients, each with its own session with the server."""
        return proxying.forward(options.config, target, command, options.settings())

    @app.command
    def reverse(target: Target = None, /, *, options: Options = _DEFAULTS) -> int:
        """HTTP in, in front of a server's URL or command."""
        return proxying.reverse(options.config, target, command, options.settings())

    @app.command(name="demo")
    def demonstrate(*, once: Annotated[bool, Parameter(help="End by itself.", negative="")] = False) -> int:
        """A small MCP server behind the proxy and a client that talks to it, each message shown as it passes."""
        from shadowproxy.cli import demo  # with its HTTP client, a quarter of the time that a proxy needs to start

        return demo.run(once=once)

    @app.command
    def replay(tape: Annotated[str, Parameter(help="A tape, as --record makes it.")], target: Target = None, /, *,
               options: Options = _DEFAULTS, rules: Rules = _RULES) -> int:  # fmt: skip
        """Answer from a tape in its server's place: on stdio, or with --listen on HTTP."""
        from shadowproxy.cli import replaying  # what only it needs would make the others start later

        return replaying.replay(tape, options.config, target, command, {**options.settings(), **rules.settings()})

    @app.command
    def verify(tape: Annotated[str, Parameter(help="A tape, as --record makes it.")], target: Target = None, /, *, wanted: Wanted = _ALL) -> int:
        """Play the client's side of a tape against a live server and compare its answers with the recorded ones."""
        from shadowproxy.cli import verifying  # what only it needs would make the others start later

        return verifying.verify(tape, target, command, wanted)

    if words[:1] == ["tape"] or words[:1] in ([], ["--help"], ["-h"]):
        app.command(tape_app())

    _look_at_the_beginning(list(words), command)
    try:
        result = app(list(words), exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise ConfigError(_slip(error, list(words))) from None
    return result if isinstance(result, int) else 0


def _look_at_the_beginning(words: list[str], command: Sequence[str]) -> None:
    """The commonest slip is a command without its --; Cyclopts would speak of its arguments instead."""
    verb = next(iter(words), "--help")
    if verb in ("forward", "reverse"):
        if words[1:] and not command and not words[1].startswith("-") and not is_url(words[1]):
            raise no_url(verb, words[1:])
    elif is_url(verb):
        raise ConfigError(f"a verb comes first, as in: shadowproxy forward {shlex.join(words)}")
    elif verb not in (*VERBS, "--help", "-h"):
        close = difflib.get_close_matches(verb, [*VERBS, "--version", "--help"], 1)
        if verb.startswith("-"):
            meant = f"did you mean {close[0]}?" if close else f"a verb comes first, as in: shadowproxy forward {shlex.join(words)}"
        else:
            meant = f"did you mean {close[0]}?" if close else f"to run it as a server: shadowproxy -- {shlex.join(words)}"
        raise ConfigError(f"{verb!r} is none of {', '.join(VERBS)}; {meant}")


def _slip(error: cyclopts.CycloptsError, words: list[str]) -> str:
    """What was wrong with the words, in one line, and whose help says more."""
    chain = [name for name in error.command_chain or () if name in words[:2]]
    if isinstance(error, cyclopts.UnusedCliTokensError) and error.unused_tokens:
        what = f"{error.unused_tokens[0]!r} is a word too many; what has blanks or & in it, as a filter, goes in quotes."
    else:
        what = " ".join(str(error).split())
    return f"{what} See {shlex.join(['shadowproxy', *chain, '--help'])}."
