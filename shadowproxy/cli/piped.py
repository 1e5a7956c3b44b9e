"""Standard output whose reader may have had enough, as in `| head`.

In: a block that prints. Out: nothing; that its reader has left is no error, and whatever is said afterwards goes nowhere.
"""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def piped() -> Iterator[None]:
    """The block is left where it noticed."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
