"""What the readers of foreign recordings share: times are read to the microsecond, lines as what they should be."""
from __future__ import annotations

import pytest

from shadowproxy.tape.exchanging.imports_foreign import decoded, unix_time
from shadowproxy.tape.frame import Unreadable


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01T00:00:01Z", 1.0), ("1970-01-01T01:00:00.5+01:00", 0.5), ("1970-01-01T00:00:00.123456789Z", 0.123456), ("2026-08-15T14:02:44.380Z", 1786802564.38),
])  # fmt: skip
def test_times(text: str, seconds: float) -> None:
    assert unix_time(text) == pytest.approx(seconds, abs=1e-6)


def test_no_time() -> None:
    with pytest.raises(Unreadable, match="soon"):
        unix_time("soon")


@pytest.mark.parametrize("data", [b"{", b'{"n":"1"}', b"\xff", b"[" * 10_000])
def test_what_is_of_another_type_is_told_by_its_name(data: bytes) -> None:
    with pytest.raises(Unreadable, match="not a line of theirs: "):
        decoded(data, dict[str, int], "a line of theirs")
