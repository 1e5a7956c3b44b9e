"""The proxy inside another program: as a block, as a task in a nursery, as an ASGI application; and every program that docs/embedding.md shows."""
from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio
from curl import Curl
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve as serve_asgi
from person import MODERN, SDK_WARNINGS, Person, text_of
from programs import FIXTURE, PUPPET, ROOT, Program, until

import shadowproxy
from shadowproxy import CannotListen, Config, Timeouts, Upstream, open_proxy

pytestmark = SDK_WARNINGS
ERAS = {"legacy": "legacy", "modern": MODERN}
eras = pytest.mark.parametrize("era", ERAS)


@pytest.fixture(scope="module")
def http_behind() -> Iterator[str]:
    with Program([*PUPPET, "--http", "0"]) as server:
        yield server.url


@pytest.fixture(params=["http", "stdio"])
def config(request: pytest.FixtureRequest, http_behind: str) -> Config:
    upstream = Upstream(url=http_behind) if request.param == "http" else Upstream(command=(*PUPPET, "--stdio"))
    return Config(listen=("127.0.0.1:0",), upstream=upstream, timeouts=Timeouts(drain=10))


# ---------------------------------------------------- a block

@eras
async def test_a_block_has_addresses_and_counts_and_drains(config: Config, era: str) -> None:
    async with open_proxy(config) as proxy, trio.open_nursery() as nursery:
        (url,) = proxy.addresses
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mcp", url)
        async with Curl(url, era, leaves=True) as curl, curl.following(curl.tool_call(1, "count", {"steps": 3, "pause": 0.1}, progressToken=1)) as said:
            await said.receive()
            counts = proxy.statistics()
            assert (counts["exchanges"], counts["sessions"]) == (1, era == "legacy")
            assert counts["connections"] >= 1
            nursery.start_soon(proxy.drain)
            assert [message async for message in said][-1]["result"]["content"][0]["text"] == "it counted to 3"
        await proxy.drain()
        counts = proxy.statistics()
        assert {counts[name] for name in ("exchanges", "connections", "sessions")} == {0}
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.post(url)


async def test_a_block_left_without_a_drain_cuts_off_what_is_under_way(config: Config) -> None:
    async def hang(url: str) -> None:
        with pytest.raises(httpx.TransportError):
            async with Curl(url, "modern") as curl:
                await curl.call(1, "hang", {})

    async with trio.open_nursery() as clients:
        async with open_proxy(config) as proxy:
            clients.start_soon(hang, proxy.addresses[0])
            await until(lambda: proxy.statistics()["exchanges"] == 1)
            left = trio.current_time()
        assert trio.current_time() - left < 5


async def test_one_proxy_behind_another(config: Config) -> None:
    async with open_proxy(config) as inner, open_proxy(Config(listen=("127.0.0.1:0",), upstream=Upstream(url=inner.addresses[0]))) as outer:
        for mode in ERAS.values():
            person = Person()
            async with person.client(outer.addresses[0], mode) as client:
                await client.call_tool("count", {"steps": 2}, progress_callback=person.hear)
            assert person.progress == [1, 2]


async def test_an_address_that_is_taken_is_a_bare_error_and_starts_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match=re.escape(address)):
            async with open_proxy(Config(listen=("127.0.0.1:0", address), upstream=Upstream(command=("/no/such/program",)))):
                pytest.fail("it must not open")


# ---------------------------------------------------- a task

@eras
async def test_a_task_serves_until_its_nursery_is_cancelled(config: Config, era: str) -> None:
    async with trio.open_nursery() as nursery:
        proxy = await nursery.start(partial(shadowproxy.serve, config))
        async with Person().client(proxy.addresses[0], ERAS[era]) as client:
            assert text_of(await client.call_tool("echo", {"text": "served"})) == "served"
        nursery.cancel_scope.cancel()
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.post(proxy.addresses[0])


# ---------------------------------------------------- an application on Hypercorn's Trio worker

@asynccontextmanager
async def hosted(config: Config) -> AsyncIterator[str]:
    """The endpoint's address, on a server that is not ours."""
    server = HypercornConfig()
    server.bind, server.accesslog, server.errorlog = ["127.0.0.1:0"], None, None
    enough = trio.Event()
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(partial(serve_asgi, shadowproxy.asgi(config), server, shutdown_trigger=enough.wait))
        yield f"{address}{config.path}"
        enough.set()


@eras
async def test_an_application_does_the_main_job(era: str) -> None:
    person = Person("Ida")
    async with (
        hosted(Config(upstream=Upstream(command=(*FIXTURE, "--stdio")), path="/elsewhere")) as url,
        person.client(url, ERAS[era]) as client,
    ):
        assert url.endswith("/elsewhere")
        await client.call_tool("test_tool_with_progress", progress_callback=person.hear)
        assert person.progress == [0, 50, 100]
        asking = ("test_elicitation", {"message": "who?"}) if era == "legacy" else ("test_input_required_result_elicitation", {})
        assert "Ida" in text_of(await client.call_tool(*asking))


@eras
async def test_an_application_hears_that_its_client_has_left(config: Config, era: str) -> None:
    """The modern era takes it for a cancellation, the older ones must not."""
    async with hosted(config) as url, Curl(url, era) as curl:
        async with curl.following(curl.tool_call(1, "hang", {"label": "left"}, progressToken=1)) as said:
            await said.receive()
        if era == "legacy":
            for _ in range(10):
                assert "left" in (await curl.call(2, "running", {})).text
            await curl.post({"method": "notifications/cancelled", "params": {"requestId": 1}})
        while "left" not in (await curl.call(3, "cancelled", {})).text:
            await trio.sleep(0.01)


async def test_an_application_serves_a_standing_stream(config: Config) -> None:
    async with hosted(config) as url, Curl(url, "modern") as curl, curl.following(curl.standing()) as said:
        assert (await said.receive())["method"] == "notifications/subscriptions/acknowledged"


async def test_an_application_whose_server_runs_no_lifespan_says_so() -> None:
    app = shadowproxy.asgi(Config(upstream=Upstream(url="http://127.0.0.1:1/mcp")))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert answer.status_code == 503
    assert "lifespan" in answer.json()["error"]["message"]


# ---------------------------------------------------- what the documentation shows

PROGRAMS = re.findall(r"```python\n(.*?)```.*?```text\n(.*?)```", (ROOT / "docs" / "embedding.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("program", "prints"), PROGRAMS, ids=[str(number) for number, _ in enumerate(PROGRAMS, 1)])
async def test_a_program_of_the_documentation_prints_what_it_says(program: str, prints: str) -> None:
    done = await trio.run_process([sys.executable, "-c", program], capture_stdout=True, stderr=subprocess.STDOUT, check=False, cwd=ROOT)
    assert done.stdout.decode() == prints
    assert done.returncode == 0


def test_every_program_of_the_documentation_is_run() -> None:
    assert len(PROGRAMS) == (ROOT / "docs" / "embedding.md").read_text().count("```python") >= 4
