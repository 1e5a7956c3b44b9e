"""A target under atheris, which keeps what leads to code that was not reached before: `fuzz.py --engine atheris`, for the decoders that are plain functions.

In: a target's name, seconds. Out: a line like those of `fuzz.py`, and its findings. libFuzzer ends the process that it runs in, so each target has one of its own,
which is this file as a program. Its corpus and dictionary are those of `seeds.py`, in a directory that ends with the run.
"""
from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random
from zlib import crc32

DECODERS = ("json_rpc", "event_stream", "lines", "header_values")
FINDING = "FINDING"
LONGEST = 6000
_DONE = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+)")


def run_guided(name: str, seconds: float) -> int:
    """Run one target; the number of findings."""
    from hostile.seeds import WORDS, seeds

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, data in enumerate(seeds(name)):
            (corpus / str(number)).write_bytes(data)
        words = Path(folder, "words")
        words.write_text("".join(f'"{_spelled(word)}"\n' for word in WORDS[name] if len(word) <= 64))
        command = [sys.executable, __file__, name, f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST}", f"-dict={words}", f"-artifact_prefix={folder}/", str(corpus)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    findings = done.stdout.count(FINDING)
    found = _DONE.search(done.stdout)
    if findings or found is None or done.returncode:
        findings = findings or 1
        print(done.stdout if found is None else "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("#", "stat::"))))
    count, covered = found.groups() if found else ("?", "?")
    print(f"{name}: {count} executions in {seconds:.0f} s by atheris, {covered} places covered, {findings} findings", flush=True)
    return findings


def _spelled(word: bytes) -> str:
    """As libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    """In the process of its own."""
    atheris = importlib.import_module("atheris")  # of the dependency group "fuzz", which only this needs
    root = Path(__file__).parents[2]
    sys.path[:0] = [str(root / "tests"), str(root)]
    with atheris.instrument_imports(include=["shadowproxy"]):
        from hostile.seeds import cuts
        from hostile.targets import TARGETS
    target, told = TARGETS[sys.argv.pop(1)], set[str]()

    def one(data: bytes) -> None:
        try:
            target(data, cuts(Random(crc32(data))))
        except Exception:
            text = traceback.format_exc(limit=-6)
            if text not in told:
                told.add(text)
                print(f"{FINDING}: {data[:2000]!r}\n{text}", flush=True)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
