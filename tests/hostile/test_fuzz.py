"""The targets, for a short while; `nox -s fuzz -- --minutes N` runs them for a long one."""
from __future__ import annotations

from random import Random

import pytest
from hostile.seeds import WORDS, cuts, mutated, seeds
from hostile.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = {"http_server": 150, "http_client": 150, "http2": 100}
CUTS = st.lists(st.integers(0, 6000), max_size=8)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_the_corpus(name: str) -> None:
    @settings(deadline=None, max_examples=EXAMPLES.get(name, 400), suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**64))
    def run(seed: int) -> None:
        random = Random(seed)
        TARGETS[name](mutated(name, random), cuts(random))

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_words_in_any_order(name: str) -> None:
    """Made so that Hypothesis can shrink what it finds."""

    @settings(deadline=None, max_examples=EXAMPLES.get(name, 400), suppress_health_check=list(HealthCheck))
    @given(st.lists(st.one_of(st.sampled_from(WORDS[name]), st.binary(max_size=6)), max_size=20), CUTS)
    def run(words: list[bytes], places: list[int]) -> None:
        TARGETS[name](b"".join(words), places)

    run()


@pytest.mark.parametrize("name", ["json_rpc", "event_stream", "lines", "header_values", "http2"])
def test_the_corpus_itself(name: str) -> None:
    for data in seeds(name):
        TARGETS[name](data, range(1, len(data), 7))
