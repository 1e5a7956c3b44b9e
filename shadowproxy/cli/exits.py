"""The exit codes, all of them (docs/cli.md shows this table)."""
from __future__ import annotations

OK = 0
"""Ended as asked: the input ended, or a signal asked for a drain and all was finished."""
FAILED = 1
"""A bug of shadowproxy: the log has its traceback."""
USAGE = 2
"""A wrong word, option or setting; nothing was started."""
CANNOT_LISTEN = 3
"""An address is taken or not ours, or a certificate cannot be used; nothing was started."""
DIFFERENT = 4
"""All went well, and what was compared differs: a verified server from its tape, one tape from another (which differences count, `--fail-on` says);
or `tape scan` found secrets."""
CUT_SHORT = 130
"""A second signal ended the drain."""
