"""Tapes in tests: a pytest plugin whose fixtures are servers that answer from a tape, or that put a live server's answers on one. docs/testing.md shows it.

In: `@pytest.mark.tape("name")`. Out: the fixtures `replaying_server` and `recording_server`, each a `TapedServer` (`server.py`). Nothing here is imported by
the proxy itself.
"""
