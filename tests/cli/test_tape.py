"""What the looking verbs print: list, show, stats; columns, colour, JSON, and what is said when something is wrong."""
from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from conversations import conversation
from rich.cells import cell_len
from tapes import HEADER, notification, request, response, tape_bytes, write_tape

from shadowproxy.cli import exits, main


@pytest.fixture
def tape(tmp_path: Path) -> str:
    return str(write_tape(tmp_path / "talk.jsonl", conversation()))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], list[str]]:
    """The exit code, and the lines of standard output and standard error."""
    code = main.run(["tape", *words])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_show(tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show", tape)
    assert (code, err, len(out)) == (exits.OK, [], 29)
    assert out[1].split()[:5] == ["0.100", "→", "s1", "1", "initialize"]
    assert out[2].split()[:7] == ["0.200", "←", "s1", "1", "initialize", "100ms", "ok"]
    (slow,) = [line for line in out if "grüß Gott" in line]
    assert slow.split()[3:8] == ["3", "tools/call", "slow", "700ms", "ok"]
    assert all(len(line) <= 160 for line in out)
    starts = {line.index("{") for line in out if "{" in line}
    assert len(starts) == 1, "payloads stand under one another"


def test_show_tells_what_went_wrong(tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", tape)
    text = "\n".join(" ".join(line.split()) for line in out)
    assert "tools/nope 100ms error" in text
    assert "refusal ping 100ms HTTP 401 upstream_refused who are you?" in text
    assert "cancelled" in text
    assert "gap 3 frame(s) missing: the writer did not keep up" in text


def test_show_with_a_filter(tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", tape, "tool:slow")
    assert [line.split()[4:6] for line in out[1:]] == [
        ["tools/call", "slow"], ["event", "id"], ["notifications/progress", '{"progressToken":"p","progress":1}'],
        ["elicitation/create", '{"message":"Who?","requestedSchema":{}}'], ["tools/call", "slow"], ["tools/call", "slow"], ["cancelled", "tools/call"],
    ], "with all that belongs to its exchanges"  # fmt: skip


def test_show_json_is_one_object_a_row(tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", tape, "--json")
    rows = [json.loads(line) for line in out]
    assert [row["frame"]["n"] for row in rows] == [frame.n for frame in conversation()]
    answered = rows[13]
    assert (answered["method"], answered["tool"], answered["duration"]) == ("tools/call", "slow", 0.7)
    assert answered["frame"]["message"]["result"]["content"][0]["text"] == "grüß Gott"
    assert [row["frame"]["n"] for row in rows if row.get("error")][-2:] == [19, 21]


def test_show_full_tells_the_whole_message_and_what_was_around_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = write_tape(tmp_path / "a.jsonl", [*conversation(), request(40, "tools/call", {"text": "x" * 5000 + "the end"})])
    _, out, _ = run(capsys, "show", str(tape), "--full")
    assert any("the end" in line for line in out)
    at = next(number for number, line in enumerate(out) if line.strip() == "HTTP 401")
    assert [line.strip() for line in out[at : at + 3]] == ["HTTP 401", "www-authenticate: Bearer", "who are you?"]


def test_no_colour_where_nobody_sees_it(tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tape", "show", tape]) == exits.OK
    assert "\x1b" not in capsys.readouterr().out


def test_a_torn_end_and_bad_lines_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tape_bytes([request(1, "ping"), response(2, 1)])
    lines = data.split(b"\n")
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([lines[0], lines[1], b"nonsense", lines[2]]) + b'\n{"n":3,"t":')
    code, out, err = run(capsys, "show", str(path))
    assert (code, len(out)) == (exits.OK, 4)
    assert "1 frame(s) missing: line 3" in out[2]
    assert any("1 line(s) could not be read" in line for line in err)
    assert any("torn" in line for line in err)


@pytest.mark.parametrize(("words", "said"), [
    (["show", "{here}/nowhere.jsonl"], "there is no such file"),
    (["show", "{here}"], "tape list {here}"),
    (["show", "{here}/notes.txt"], "not a tape"),
    (["show", "{here}/future.jsonl"], "newer shadowproxy"),
    (["show", "{here}/talk.jsonl", "tool:a &"], "^"),
    (["show"], "shadowproxy tape show --help"), (["show", "{here}/talk.jsonl", "tool:a", "err"], "goes in quotes"), (["tail", "{here}/talk.jsonl", "--last", "-1"], "--last must be"),
    (["diff", "{here}/talk.jsonl", "--surface", "--ignore", "/x"], "--ignore is for messages"),
    (["shwo", "{here}/talk.jsonl"], "show"),
    (["export", "{here}/talk.jsonl", "--format", "xml", "-o", "x"], "har"),
    (["stats", "{here}/nowhere.jsonl"], "there is no such file"),
    (["list", "{here}/nowhere"], "there is no such file"),
])  # fmt: skip
def test_what_is_wrong_is_said(words: list[str], said: str, tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("shopping list\n")
    (tmp_path / "future.jsonl").write_text('{"tape":99,"tool":"shadowproxy 9","origin":1}\n')
    code, out, err = run(capsys, *(word.replace("{here}", str(tmp_path)) for word in words))
    assert (code, out) == (exits.USAGE, [])
    assert all(line.startswith("shadowproxy: ") for line in err)
    assert said.replace("{here}", str(tmp_path)) in "\n".join(err)


def test_list(tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tape(tmp_path / "other.jsonl", [])
    (tmp_path / "broken.jsonl").write_text("nonsense\n")
    code, out, err = run(capsys, "list", str(tmp_path))
    assert code == exits.USAGE, "one of them is no tape"
    assert [line.split()[-1] for line in out[1:]] == [str(tmp_path / "other.jsonl"), tape]
    assert out[2].split()[2:4] == ["61.00s", "28"]
    assert "host 2" in out[2]
    assert len(err) == 1
    assert "broken.jsonl: not a tape" in err[0]
    _, out, _ = run(capsys, "list", tape, "--json")
    assert json.loads(out[0])["frames"] == 28
    assert json.loads(out[0])["server"] == "host 2"


@pytest.mark.parametrize("verb", ["list", "stats"])
def test_a_directory_without_tapes(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, verb, str(tmp_path))
    assert code == exits.OK
    assert "no tapes there" in err[0]


def test_list_cuts_what_is_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (upstream, session) in enumerate([("日本語" * 20, "x" * 30), ("\x1b[2J", "\x1b")]):
        write_tape(tmp_path / f"{number}.jsonl", [], msgspec.structs.replace(HEADER, upstream=upstream, session=session))
    _, out, _ = run(capsys, "list", str(tmp_path))
    assert len({cell_len(line[: line.index("/")]) for line in out[1:]}) == 1, "the names stand under one another"
    assert all(line.isprintable() for line in out)


@pytest.mark.parametrize(("words", "said"), [(["tool:nothing"], "true of nothing"), ([], "")])
def test_show_says_when_there_is_nothing_to_show(words: list[str], said: str, tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "show", tape, *words)
    assert (code, "\n".join(err).count("true of nothing")) == (exits.OK, bool(said))
    _, out, err = run(capsys, "show", str(write_tape(tmp_path / "empty.jsonl", [])))
    assert (len(out), "no message on this tape" in err[0]) == (1, True)


def test_stats(tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "stats", tape)
    assert code == exits.OK
    assert out[0].startswith("28 frames in 61.00s")
    assert "3 frames are missing" in out
    slow = next(line.split() for line in out if line.startswith("slow"))
    assert slow[1] == "2"
    _, out, _ = run(capsys, "stats", tape, "--json", "--filter", "tool:slow")
    told = json.loads(out[0])
    assert set(told["tools"]) == {"slow"}
    write_tape(tmp_path / "more.jsonl", [notification(1, "notifications/x", session="s9")], HEADER)
    _, out, _ = run(capsys, "stats", str(tmp_path), "--json")
    assert (json.loads(out[0])["frames"], json.loads(out[0])["sessions"]) == (29, 2)
