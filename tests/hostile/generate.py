"""Writes the generated tables of the corpus: `python tests/hostile/generate.py`. A test tells when that was forgotten."""
from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from hostile.make_child_lines import child_lines
from hostile.make_http_requests import http_requests
from hostile.make_http_responses import http_responses
from hostile.make_messages import messages
from hostile.make_stdin_lines import stdin_lines
from hostile.rows import CORPUS, Row

MAKERS: dict[str, Callable[[], Iterable[Row]]] = {"http_requests": http_requests, "messages": messages, "http_responses": http_responses, "child_lines": child_lines, "stdin_lines": stdin_lines}


def text_of(table: str) -> str:
    return "".join(json.dumps(row) + "\n" for row in MAKERS[table]())


def main() -> None:
    for table in MAKERS:
        path = CORPUS / f"{table}.jsonl"
        path.write_text(text_of(table))
        print(f"{path.name}: {len(path.read_text().splitlines())} rows")


if __name__ == "__main__":
    main()
