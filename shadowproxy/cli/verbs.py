"""The verbs of the command line, for who has to know one before its words are understood: reading those is slow to load."""
from __future__ import annotations

VERBS = ("forward", "reverse", "demo", "replay", "verify", "tape")
