"""The main job, each way through: {legacy, modern} x {HTTP, stdio behind} x {reverse, forward --listen, forward on stdio}.

The client is the SDK's; behind stands the project's fixture server, or the puppet where it matters what the server saw.
"""
from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
import trio
from curl import Curl, events
from doors import BEHIND, LISTENING, WAYS, Door, open_doors
from mcp import MCPError
from person import MODERN, SDK_WARNINGS, Person, text_of
from programs import FIXTURE, PATIENCE, PUPPET, SHADOWPROXY, Program, await_now, free_port, until

pytestmark = SDK_WARNINGS

ERAS = {"legacy": "legacy", "modern": MODERN}
Doors = dict[tuple[str, str], Door]


@pytest.fixture(scope="module")
def fixture_doors() -> Iterator[Doors]:
    port = free_port()
    url = f"http://localhost:{port}/mcp"
    with Program([*FIXTURE, "--http", str(port)]) as server, open_doors(url, [*FIXTURE, "--stdio"]) as doors:
        await_now(lambda: answers(url) or server.ended)
        yield doors


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code > 0
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def puppet_doors() -> Iterator[Doors]:
    with Program([*PUPPET, "--http", "0"]) as server, open_doors(server.url, [*PUPPET, "--stdio"]) as doors:
        yield doors


matrix = pytest.mark.parametrize(("era", "way", "behind"), [(era, way, behind) for era in ERAS for way in WAYS for behind in BEHIND])


@matrix
async def test_progress_questions_and_errors(fixture_doors: Doors, era: str, way: str, behind: str) -> None:
    person = Person("Emmy")
    with trio.fail_after(PATIENCE):
        async with person.client(fixture_doors[way, behind](), ERAS[era]) as client:
            assert {"test_simple_text", "test_tool_with_progress"} <= {tool.name for tool in (await client.list_tools()).tools}

            await client.call_tool("test_tool_with_progress", progress_callback=person.hear)
            assert person.progress == [0, 50, 100]

            if era == "legacy":
                asked = await client.call_tool("test_elicitation", {"message": "who?"})
                sampled = await client.call_tool("test_sampling", {"prompt": "who?"})
            else:
                asked = await client.call_tool("test_input_required_result_elicitation")
                sampled = await client.call_tool("test_input_required_result_sampling")
            assert "Emmy" in text_of(asked)
            assert "said by Emmy" in text_of(sampled)
            assert person.asked == ["elicitation", "sampling"]

            failed = await client.call_tool("test_error_handling")
            assert failed.is_error
            assert text_of(failed) == "This tool intentionally returns an error for testing"
            with pytest.raises(MCPError, match="no-such-tool") as caught:
                await client.call_tool("no-such-tool")
            assert caught.value.code == -32602
            assert text_of(await client.call_tool("test_simple_text")) == "This is a simple text response for testing."


@matrix
async def test_the_server_hears_of_a_cancelled_call(puppet_doors: Doors, era: str, way: str, behind: str) -> None:
    person = Person()
    label = f"{era} {way} {behind}"
    with trio.fail_after(PATIENCE):
        async with person.client(puppet_doors[way, behind](), ERAS[era]) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(client.call_tool, "hang", {"label": label}, progress_callback=person.hear))
                await until(lambda: person.progress)
                assert label not in json.loads(text_of(await client.call_tool("cancelled")))
                nursery.cancel_scope.cancel()
            while label not in json.loads(text_of(await client.call_tool("cancelled"))):
                await trio.sleep(0.01)


# ---------------------------------------------------- as one sees it with curl

listening = pytest.mark.parametrize(("era", "way", "behind"), [(era, way, behind) for era in ERAS for way in LISTENING for behind in BEHIND])


@listening
async def test_a_request_and_its_answer_as_curl_sees_them(puppet_doors: Doors, era: str, way: str, behind: str) -> None:
    async with Curl(str(puppet_doors[way, behind]()), era) as curl:
        plain = await curl.call("a", "echo", {"text": "one answer is JSON"})
        assert (plain.status_code, plain.headers["content-type"]) == (200, "application/json")
        assert plain.json()["id"] == "a"
        assert plain.json()["result"]["content"] == [{"type": "text", "text": "one answer is JSON"}]

        streamed = events(await curl.call(7, "count", {"steps": 2}, progressToken="p"))
        assert [message.get("method", message.get("id")) for message in streamed] == ["notifications/progress"] * 2 + [7]
        assert [message["params"]["progressToken"] for message in streamed[:2]] == ["p", "p"]

        unknown = await curl.call(8, "no-such-tool", {})
        assert unknown.json()["error"]["code"] == -32601
        assert unknown.json()["id"] == 8

        garbage = await curl.http.post(curl.url, content=b"{", headers={"content-type": "application/json"})
        assert garbage.status_code == 400
        assert garbage.json()["error"]["code"] == -32700


@pytest.mark.parametrize("behind", BEHIND)
async def test_a_session_that_has_ended_is_not_found_and_none_is_invented(puppet_doors: Doors, behind: str) -> None:
    async with Curl(str(puppet_doors["reverse", behind]()), "legacy") as curl:
        ended, curl.session = curl.session, {}
        assert (await curl.http.delete(curl.url, headers=ended)).is_success
        ping = {"id": 1, "method": "ping"}
        assert (await curl.post(ping, **ended)).status_code == 404
        assert (await curl.post(ping, **{"mcp-session-id": "made-up"})).status_code == 404
        assert (await curl.http.get(curl.url, headers={"accept": "text/event-stream", **ended})).status_code == 404


@listening
async def test_equal_ids_and_tokens_of_two_clients_never_cross(puppet_doors: Doors, era: str, way: str, behind: str) -> None:
    """Two hundred calls under way at once, all of them with the same id and the same progress token, half of them each client's."""
    url = str(puppet_doors[way, behind]())
    crossed: list[str] = []

    async def ask(curl: Curl, text: str) -> None:
        answer = await curl.call(1, "count", {"label": text, "steps": 3, "pause": 0.05}, progressToken=1)
        *progress, response = events(answer)
        said = {message["params"]["message"].partition(":")[0] for message in progress}
        told = [message["params"]["progressToken"] for message in progress]
        if (said, told, response["id"], response["result"]["content"][0]["text"]) != ({text}, [1, 1, 1], 1, f"{text} counted to 3"):
            crossed.append(f"{text}: {answer.text}")

    async with Curl(url, era) as one, Curl(url, era) as other, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, one, f"one-{number}")
            nursery.start_soon(ask, other, f"other-{number}")
    assert crossed == []


# ---------------------------------------------------- the program

async def test_it_listens_on_ipv6() -> None:
    with Program([*SHADOWPROXY, "reverse", "--listen", "[::1]:0", "--", *PUPPET, "--stdio"]) as proxy:
        assert proxy.url.startswith("http://[::1]:")
        for mode in ERAS.values():
            async with Person().client(proxy.url, mode) as client:
                assert text_of(await client.call_tool("echo", {"text": "six"})) == "six"


def test_it_answers_soon_after_it_was_started() -> None:
    """The best of a few, so that a busy machine does not decide."""
    took = []
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}}}
    for _ in range(5):
        port = free_port()
        began = time.monotonic()
        with Program([*SHADOWPROXY, "reverse", "--listen", f"127.0.0.1:{port}", "--", *PUPPET, "--stdio"]):
            await_now(lambda port=port: posted(f"http://127.0.0.1:{port}/mcp", body))  # type: ignore[misc]
            took.append(time.monotonic() - began)
    print(f"start to first answer: {', '.join(f'{seconds:.3f}' for seconds in took)} s")
    assert min(took) < 1.0


def posted(url: str, body: object) -> bool:
    try:
        return httpx.post(url, json=body).status_code == 200
    except httpx.TransportError:
        return False
