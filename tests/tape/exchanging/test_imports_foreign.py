"""What the readers of foreign recordings share: files are closed however it ends, times are read to the microsecond."""
from __future__ import annotations

from pathlib import Path

import pytest

from shadowproxy.tape.exchanging.imports_foreign import unix_time
from shadowproxy.tape.exchanging.imports_npm import NpmCassette
from shadowproxy.tape.frame import Unreadable


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01T00:00:01Z", 1.0), ("1970-01-01T01:00:00.5+01:00", 0.5), ("1970-01-01T00:00:00.123456789Z", 0.123456), ("2026-08-15T14:02:44.380Z", 1786802564.38),
])  # fmt: skip
def test_times(text: str, seconds: float) -> None:
    assert unix_time(text) == pytest.approx(seconds, abs=1e-6)


def test_no_time() -> None:
    with pytest.raises(Unreadable, match="soon"):
        unix_time("soon")


def test_a_file_that_is_refused_is_closed(tmp_path: Path) -> None:
    """The census of every test would tell of one left open."""
    path = tmp_path / "cassette.jsonl"
    path.write_text('{"type":"header","cassetteVersion":99,"startedAt":"2026-08-16T00:00:00Z"}\n')
    with pytest.raises(Unreadable):
        NpmCassette(path)
