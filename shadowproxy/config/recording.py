"""What is put on tape, where, and what is replaced before it is written.

In: keyword arguments. Out: `Record`, or `WrongValue` that names the setting and the mend. docs/cli.md describes each for users.
"""
from __future__ import annotations

from typing import Literal

import attrs

from shadowproxy.config import rules, syntax


@attrs.frozen(kw_only=True)
class Record:
    """A recording: every exchange, to `path`: a file (`….jsonl`) for all of them, or a directory with a file for each session."""

    path: str = attrs.field(validator=rules.text(syntax.file))
    # What is replaced before it is written: "default" (credentials, token-shaped values, what the lists below name), or "none".
    redaction: Literal["default", "none"] = attrs.field(default="default", validator=rules.one_of("default", "none"))
    redact_keys: tuple[str, ...] = attrs.field(default=(), validator=rules.texts(syntax.word))          # members of these names
    redact_pointers: tuple[str, ...] = attrs.field(default=(), validator=rules.texts(syntax.pointer))   # what stands there in a message
    redact_patterns: tuple[str, ...] = attrs.field(default=(), validator=rules.texts(syntax.pattern))   # regular expressions, within strings
    rotate_size: int | None = attrs.field(default=None, validator=rules.whole(1))                       # bytes after which a file is put aside
    rotate_age: float | None = attrs.field(default=None, validator=rules.seconds(zero=False))           # seconds after which it is
    keep: int | None = attrs.field(default=None, validator=rules.whole(1))                              # files put aside that are kept
    compress: bool = attrs.field(default=False, validator=rules.switch)                                 # files put aside, with zstd
    # When the disk is too slow: "lossy" drops frames and marks the gap, "complete" lets the traffic wait.
    durability: Literal["lossy", "complete"] = attrs.field(default="lossy", validator=rules.one_of("lossy", "complete"))
    buffer: int = attrs.field(default=8 << 20, validator=rules.whole(1))                                # bytes that may wait to be written

    @property
    def per_session(self) -> bool:
        """Whether `path` is a directory."""
        return not self.path.endswith(".jsonl")
