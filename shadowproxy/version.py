"""The version, where every room can see it. pyproject.toml has the same; a test holds them together."""
from __future__ import annotations

VERSION = "0.1.0"
