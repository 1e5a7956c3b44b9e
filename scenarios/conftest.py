"""What every scenario has: the census of the tests."""
from __future__ import annotations

from conftest import census

__all__ = ["census"]
