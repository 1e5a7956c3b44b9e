"""The servers that scenarios are recorded from, and the small world that they work in. Nobody here wrote any of them.

In: a server's name. Out: its command; or, over HTTP, its address while a block runs. `open_world` makes a folder, a repository and a page at places that
are the same everywhere, because what servers say of them is on the tapes; one process at a time has it. Programs are found by $PATH, so that a tape's
header names no place of this machine.
"""
from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from programs import Program, await_now
from real import node_packages
from scripts_reference import FOLDER, LARGE, PAGE

HOME: Final = Path(FOLDER)
NODE_SERVERS: Final = node_packages.Shelf(node_packages.SERVERS.home / "reference", {
    f"@modelcontextprotocol/server-{name}": "2026.8.31" for name in ("filesystem", "memory", "sequential-thinking")
})  # fmt: skip
EVERYTHING: Final = "@modelcontextprotocol/server-everything"
PORT: Final = 18932
"""Of a server that speaks HTTP."""
KEY: Final = "the scenarios hold no secrets"
"""Of the tokens for what is redacted: the same everywhere, so that the tapes are too."""
PYTHON: Final = {"time": ("--local-timezone", "Etc/UTC"), "fetch": ("--ignore-robots-txt", "--allow-private-ips"), "git": ()}
_LINE: Final = "A tape is lines, and this is one of the many.\n"


def command(server: str) -> Sequence[str]:
    """How to start it on standard input and output."""
    if server in PYTHON:
        return ("python", "-m", f"mcp_server_{server}", *PYTHON[server])
    shelf = node_packages.SERVERS if server == "everything" else NODE_SERVERS
    _, script = node_packages.command(f"@modelcontextprotocol/server-{server}", shelf)
    return ("node", script, *({"filesystem": (FOLDER,), "everything": ("stdio",)}.get(server, ())))


def environment() -> dict[str, str]:
    """What servers and proxies are started with."""
    path = os.pathsep.join([str(Path(node_packages.NODE).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PATH": path, "MEMORY_FILE_PATH": str(HOME / "memory.jsonl"), "SHADOWPROXY_REDACTION_KEY": KEY, "TZ": "UTC", "NO_PROXY": "*"}


@contextmanager
def open_http_server() -> Iterator[str]:
    """`server-everything` over HTTP: its address."""
    _, script = node_packages.command(EVERYTHING)
    with Program(["node", script, "streamableHttp"], env={**environment(), "PORT": str(PORT)}) as server:
        await_now(lambda: "listening on port" in server.words or server.ended)
        assert not server.ended, server.words
        yield f"http://127.0.0.1:{PORT}/mcp"


@contextmanager
def open_world() -> Iterator[None]:
    """The folder, the repository and the page, fresh; gone afterwards."""
    with Path(f"{FOLDER}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(HOME, ignore_errors=True)
        _make_folder()
        _make_repository()
        try:
            with Program([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(HOME / "page"), PAGE.rsplit(":", 1)[1].strip("/")]) as page:
                await_now(lambda: "Serving" in page.words or page.ended)
                yield
        finally:
            shutil.rmtree(HOME, ignore_errors=True)


def _make_folder() -> None:
    (HOME / "page").mkdir(parents=True)
    (HOME / "page" / "index.html").write_text("<html><head><title>Tapes</title></head><body><h1>Tapes</h1></body></html>")
    (HOME / "page" / "tapes.txt").write_text("Tapes are lines.\n")
    (HOME / "small.txt").write_text("small\n")
    (HOME / "large.txt").write_text((_LINE * (LARGE // len(_LINE) + 1))[:LARGE])


def _make_repository() -> None:
    repo = HOME / "repo"
    repo.mkdir()
    date = "2026-01-02T03:04:05Z"
    who = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org"}
    env = {**os.environ, **who, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def run(*words: str) -> None:
        subprocess.run(["git", *words], cwd=repo, env=env, check=True, capture_output=True)

    run("init", "--initial-branch=main")
    (repo / "a.txt").write_text("one\n")
    run("add", "a.txt")
    run("commit", "--message", "First words")
    (repo / "a.txt").write_text("one\ntwo\n")
