"""The verbs that make files, end to end: what is in the file, what is said of it, and that a failure leaves nothing."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from conversations import conversation
from tapes import HEADER, request, response, write_tape

from shadowproxy.cli import exits, main
from shadowproxy.tape.frame import Frame
from shadowproxy.tape.reader import Reading

FOREIGN = Path(__file__).parents[1] / "tape" / "exchanging" / "foreign"
TOKEN = "ghp_" + "a1B2c3D4e5" * 4


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", "a key for tests, long enough")


@pytest.fixture
def tape(tmp_path: Path) -> str:
    return str(write_tape(tmp_path / "talk.jsonl", conversation()))


def frames_of(path: Path) -> list[Frame]:
    with Reading(path) as tape:
        return list(tape)


def test_filter_keeps_whole_exchanges(tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A filter that is true of a response only: its request comes too, what came on its stream, and the client's answer to the question on it."""
    out = tmp_path / "slow.jsonl.zst"
    assert main.run(["tape", "filter", tape, "tool:slow & dur>500ms", "-o", str(out)]) == exits.OK
    assert [frame.n for frame in frames_of(out)] == [3, 7, 9, 10, 11, 13, 14]
    with Reading(out) as made:
        assert made.header == HEADER
    assert capsys.readouterr().err == f"shadowproxy: {out}: 7 frame(s)\n"


def test_filter_keeps_the_frames_only(tape: str, tmp_path: Path) -> None:
    out = tmp_path / "slow.jsonl"
    assert main.run(["tape", "filter", tape, "tool:slow & dur>500ms", "-o", str(out), "--frames"]) == exits.OK
    assert [frame.n for frame in frames_of(out)] == [14]


@pytest.mark.parametrize("words", [["filter"], ["filter", "--frames"], ["export", "--format", "har"], ["export", "--format", "html"]])
def test_a_filter_that_is_true_of_nothing(words: list[str], tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tape", words[0], tape, "tool:nothing", *words[1:], "-o", str(tmp_path / "none")]) == exits.OK
    assert "true of nothing" in capsys.readouterr().err


def test_convert_there_and_back(tape: str, tmp_path: Path) -> None:
    packed, back = tmp_path / "a.jsonl.zst", tmp_path / "b.jsonl"
    assert main.run(["tape", "convert", tape, str(packed)]) == exits.OK
    assert main.run(["tape", "convert", str(packed), str(back)]) == exits.OK
    assert back.read_bytes() == Path(tape).read_bytes()
    assert packed.stat().st_size < back.stat().st_size


def test_redact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [request(1, "tools/call", {"name": "x", "arguments": {"pin": "1234", "note": TOKEN, "colour": "green"}}), response(2, 1)]
    source, out = write_tape(tmp_path / "a.jsonl", frames), tmp_path / "b.jsonl"
    assert main.run(["tape", "redact", str(source), str(out), "--key", "colour", "--pointer", "/params/arguments/pin"]) == exits.OK
    text = out.read_text()
    assert not [secret for secret in (TOKEN, '"1234"', "green") if secret in text]
    assert text.count("[REDACTED:") == 3
    with Reading(out) as tape:
        assert (tape.header.redaction, tape.header.key is not None) == ("default", True)
    assert "something was replaced" in capsys.readouterr().err
    assert main.run(["tape", "redact", str(out), str(out)]) == exits.OK
    assert out.read_text() == text, "what is replaced stays so, and a tape may be written onto itself"


def test_redact_with_another_key(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of two keys are told in the header and to the user; the recording's key stays the only one where nothing is replaced by the other."""
    source, mixed, same = (tmp_path / name for name in ("a.jsonl", "mixed.jsonl", "same.jsonl"))
    write_tape(source, [request(1, "tools/call", {"arguments": {"password": "hunter2", "pin": "1234"}}), response(2, 1)])
    assert main.run(["tape", "redact", str(source), str(source)]) == exits.OK
    with Reading(source) as tape:
        first = tape.header.key
    capsys.readouterr()
    monkeypatch.setenv("SHADOWPROXY_REDACTION_KEY", "another key, just as long")
    assert main.run(["tape", "redact", str(source), str(same)]) == exits.OK
    assert same.read_bytes() == source.read_bytes()
    assert "another key" not in capsys.readouterr().err
    assert main.run(["tape", "redact", str(source), str(mixed), "--key", "pin"]) == exits.OK
    err = capsys.readouterr().err
    with Reading(mixed) as tape:
        assert tape.header.key is not None
        assert tape.header.key.split("+")[0] == first
        second = tape.header.key.split("+")[1]
    assert f"of another key ({first}) than yours ({second})" in err
    assert "SHADOWPROXY_REDACTION_KEY" in err
    assert main.run(["tape", "redact", str(mixed), str(mixed)]) == exits.OK
    assert "another key" not in capsys.readouterr().err, "it is among them"


def test_export_har(tape: str, tmp_path: Path) -> None:
    out = tmp_path / "talk.har"
    assert main.run(["tape", "export", tape, "tool:slow & dur>500ms", "--format", "har", "-o", str(out)]) == exits.OK
    entries = json.loads(out.read_text())["log"]["entries"]
    assert {entry.get("_exchange") for entry in entries} == {3, None}
    assert main.run(["tape", "export", tape, "--format", "har", "-o", str(out)]) == exits.OK
    assert len(json.loads(out.read_text())["log"]["entries"]) == 13


def test_export_html(tape: str, tmp_path: Path) -> None:
    out = tmp_path / "talk.html"
    assert main.run(["tape", "export", tape, "--format", "html", "-o", str(out)]) == exits.OK
    assert out.read_text().startswith("<!doctype html>")


def test_export_pytest(tape: str, tmp_path: Path) -> None:
    out = tmp_path / "test_talk.py"
    assert main.run(["tape", "export", tape, "--format", "pytest", "-o", str(out)]) == exits.OK
    compile(out.read_text(), str(out), "exec")


@pytest.mark.parametrize("name", sorted(path.name for path in FOREIGN.iterdir()))
def test_import(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tape.jsonl"
    assert main.run(["tape", "import", str(FOREIGN / name), "-o", str(out)]) == exits.OK
    said = capsys.readouterr().err
    assert "left out" in said or name == "pypi_http.json"
    assert f"{len(frames_of(out))} frame(s), from " in said
    assert main.run(["tape", "show", str(out)]) == exits.OK


@pytest.mark.parametrize("words", [
    ["filter", "{tape}", "tool:", "-o", "{out}"], ["filter", "{tape}", "err"], ["convert", "{tape}", "{here}/missing/b.jsonl"], ["convert", "{here}/missing", "{out}"],
    ["export", "{tape}", "--format", "har", "-o", "{here}/missing/x.har"], ["import", "{tape}", "-o", "{out}"], ["import", "{here}", "-o", "{out}"],
    ["redact", "{tape}", "{out}", "--pattern", "("], ["redact", "{tape}", "{out}", "--pointer", "pin"],
])  # fmt: skip
def test_what_cannot_be_done_is_said_and_leaves_nothing(words: list[str], tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {"{tape}": tape, "{out}": str(tmp_path / "out.jsonl"), "{here}": str(tmp_path)}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    assert main.run(["tape", *words]) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err
    assert all(line.startswith("shadowproxy: ") for line in err.splitlines()), err
    assert [path.name for path in tmp_path.iterdir()] == ["talk.jsonl"]
