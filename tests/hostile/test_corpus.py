"""The corpus itself: what is generated is fresh, names are unique, and there is as much of it as we say."""
from __future__ import annotations

from collections import Counter

import pytest
from hostile.generate import MAKERS, text_of
from hostile.rows import CORPUS, TABLES, families, rows


@pytest.mark.parametrize("table", MAKERS)
def test_the_generated_tables_are_fresh(table: str) -> None:
    assert (CORPUS / f"{table}.jsonl").read_text() == text_of(table), "run python tests/hostile/generate.py"


def test_every_file_is_of_a_table() -> None:
    names = {path.stem.removesuffix("_by_hand") for path in CORPUS.iterdir()}
    assert names == set(TABLES) == set(MAKERS)


@pytest.mark.parametrize("table", TABLES)
def test_names_are_unique(table: str) -> None:
    assert [name for name, count in Counter(row["name"] for row in rows(table)).items() if count > 1] == []


def test_there_is_enough_of_it() -> None:
    assert len(families("http_requests")["thirty vectors"]) == 30
    assert {table: len(rows(table)) >= 300 for table in TABLES} == dict.fromkeys(TABLES, True)
