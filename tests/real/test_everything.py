"""`@modelcontextprotocol/server-everything` behind the proxy, and the `mcp` SDK's client in front of it: a real conversation, all of it.

Four doors lead to it: {reverse, forward} x {its stdio, its Streamable HTTP}. It knows the eras of `initialize` only.
"""
from __future__ import annotations

import base64
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
import trio
from doors import Door, open_doors
from mcp import Client, MCPError
from mcp.types import BlobResourceContents, ImageContent, PromptReference, ResourceLink, ResourceTemplateReference, TextContent
from person import MODERN, SDK_WARNINGS, Person, text_of
from programs import PATIENCE, Program, await_now, free_port, until
from real import node_packages

pytestmark = SDK_WARNINGS

LEGACY = "2025-11-25"


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[tuple[str, str], Door]]:
    everything = node_packages.command("@modelcontextprotocol/server-everything")
    port = free_port()
    with Program([*everything, "streamableHttp"], env={"PORT": str(port)}) as server:
        with open_doors(f"http://127.0.0.1:{port}/mcp", [*everything, "stdio"], ("reverse", "forward")) as doors:
            await_now(lambda: "listening on port" in server.words)
            yield doors


@pytest.fixture(params=["reverse, stdio behind", "reverse, http behind", "forward, stdio behind", "forward, http behind"])
def door(request: pytest.FixtureRequest, doors: dict[tuple[str, str], Door]) -> Door:
    """What to give to a client that wants to talk to the server."""
    way, behind = request.param.removesuffix(" behind").split(", ")
    return doors[way, behind]


@asynccontextmanager
async def meeting(door: Door, person: Person, mode: str = "legacy") -> AsyncIterator[Client]:
    """A session in which both sides are ready: the server asks for roots a moment after the handshake, and then every way to the client is open."""
    with trio.fail_after(PATIENCE):
        async with person.client(door(), mode) as client:
            await until(lambda: "roots" in person.asked)
            yield client


# ---------------------------------------------------- tools

async def test_tools_answer_in_words_pictures_and_structures(door: Door) -> None:
    async with meeting(door, Person()) as client:
        assert client.protocol_version == LEGACY
        assert client.server_info is not None
        assert client.server_info.name == "mcp-servers/everything"
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"echo", "get-sum", "trigger-sampling-request", "trigger-elicitation-request", "get-roots-list"} <= names
        assert text_of(await client.call_tool("echo", {"message": "grüß Gott \u2028 \U0001f600"})) == "Echo: grüß Gott \u2028 \U0001f600"
        assert text_of(await client.call_tool("get-sum", {"a": 2, "b": 40})) == "The sum of 2 and 40 is 42."
        picture = next(block for block in (await client.call_tool("get-tiny-image")).content if isinstance(block, ImageContent))
        assert base64.b64decode(picture.data).startswith(b"\x89PNG")
        weather = await client.call_tool("get-structured-content", {"location": "Chicago"})
        assert weather.structured_content is not None
        assert weather.structured_content["temperature"] == 36
        failed = await client.call_tool("get-sum", {"a": "two"})
        assert failed.is_error


async def test_progress_comes_while_the_call_runs(door: Door) -> None:
    person = Person()
    async with meeting(door, person) as client:
        done = await client.call_tool("trigger-long-running-operation", {"duration": 0.5, "steps": 5}, progress_callback=person.hear)
        assert person.progress == [1, 2, 3, 4, 5]
        assert "Steps: 5" in text_of(done)


async def test_a_cancelled_call_is_over_and_the_session_is_not(door: Door) -> None:
    person = Person()
    async with meeting(door, person) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.call_tool, "trigger-long-running-operation", {"duration": 60, "steps": 600}, progress_callback=person.hear))
            await until(lambda: person.progress)
            nursery.cancel_scope.cancel()
        heard = len(person.progress)
        again = [await client.call_tool("echo", {"message": f"still there {n}"}) for n in range(20)]
        assert text_of(again[-1]) == "Echo: still there 19"
        assert len(person.progress) == heard


# ---------------------------------------------------- what the server asks

async def test_sampling_elicitation_and_roots_reach_the_client_and_come_back(door: Door) -> None:
    person = Person("Grace")
    async with meeting(door, person) as client:
        sampled = await client.call_tool("trigger-sampling-request", {"prompt": "say who", "maxTokens": 10})
        assert "said by Grace" in text_of(sampled)
        elicited = await client.call_tool("trigger-elicitation-request")
        assert "- Name: Grace" in text_of(elicited)
        assert "file:///home/ada" in text_of(await client.call_tool("get-roots-list"))
        assert set(person.asked) == {"sampling", "elicitation", "roots"}

        person.roots.append("file:///srv/new")
        await client.send_roots_list_changed()
        await until(lambda: person.asked.count("roots") == 2)
        assert "file:///srv/new" in text_of(await client.call_tool("get-roots-list"))


# ---------------------------------------------------- what the server says unasked

async def test_logging_follows_the_level_that_was_set(door: Door) -> None:
    person = Person()
    async with meeting(door, person) as client:
        await client.set_logging_level("debug")
        await client.call_tool("toggle-simulated-logging")
        await until(lambda: any("message" in words for words in person.logs))
        await client.call_tool("toggle-simulated-logging")

        await client.set_logging_level("emergency")
        person.logs.clear()
        await client.subscribe_resource("demo://resource/dynamic/text/7")  # of which the server tells at level info
        await client.set_logging_level("info")
        await client.unsubscribe_resource("demo://resource/dynamic/text/7")
        await until(lambda: person.logs)
        assert person.logs[0].startswith("info: Received Unsubscribe Resource request: demo://resource/dynamic/text/7")


async def test_an_update_of_a_resource_comes_to_who_subscribed(door: Door) -> None:
    uri = "demo://resource/dynamic/text/1"
    person, stranger = Person(), Person()
    async with meeting(door, person) as client, meeting(door, stranger) as other:
        await client.subscribe_resource(uri)
        await client.call_tool("toggle-subscriber-updates")
        await until(lambda: person.updated)
        assert set(person.updated) == {uri}
        await client.call_tool("toggle-subscriber-updates")
        await client.unsubscribe_resource(uri)
        await other.call_tool("echo", {"message": "no news here"})
        assert stranger.updated == []


async def test_a_changed_list_is_told_and_what_is_new_can_be_read(door: Door) -> None:
    person = Person()
    async with meeting(door, person) as client:
        before = {str(resource.uri) for resource in (await client.list_resources()).resources}
        content = base64.b64encode(b"squeeze me").decode()
        squeezed = await client.call_tool("gzip-file-as-resource", {"name": "words.gz", "data": f"data:text/plain;base64,{content}"})
        await until(lambda: "notifications/resources/list_changed" in person.told)
        link = next(block for block in squeezed.content if isinstance(block, ResourceLink))
        assert {str(resource.uri) for resource in (await client.list_resources(cache_mode="bypass")).resources} - before == {str(link.uri)}
        (found,) = (await client.read_resource(str(link.uri))).contents
        assert isinstance(found, BlobResourceContents)
        assert gzip.decompress(base64.b64decode(found.blob)) == b"squeeze me"


# ---------------------------------------------------- resources, prompts, completion

async def test_resources_prompts_and_completion(door: Door) -> None:
    async with meeting(door, Person()) as client:
        templates = {template.uri_template for template in (await client.list_resource_templates()).resource_templates}
        assert "demo://resource/dynamic/text/{resourceId}" in templates
        (read,) = (await client.read_resource("demo://resource/dynamic/text/42")).contents
        assert "Resource 42" in str(read)
        with pytest.raises(MCPError):
            await client.read_resource("demo://no/such/thing")

        assert {"args-prompt", "completable-prompt"} <= {prompt.name for prompt in (await client.list_prompts()).prompts}
        prompt = await client.get_prompt("args-prompt", {"city": "Zürich", "state": "ZH"})
        assert isinstance(prompt.messages[0].content, TextContent)
        assert prompt.messages[0].content.text == "What's weather in Zürich, ZH?"

        who = PromptReference(type="ref/prompt", name="completable-prompt")
        assert (await client.complete(who, {"name": "department", "value": "S"})).completion.values == ["Sales", "Support"]
        assert (await client.complete(who, {"name": "name", "value": ""}, {"department": "Sales"})).completion.values == ["David", "Eve", "Frank"]
        what = ResourceTemplateReference(type="ref/resource", uri="demo://resource/dynamic/text/{resourceId}")
        assert (await client.complete(what, {"name": "resourceId", "value": "7"})).completion.values == ["7"]


# ---------------------------------------------------- eras and event loops

async def test_a_client_that_asks_first_finds_the_era_of_the_server(door: Door) -> None:
    async with meeting(door, Person(), "auto") as client:
        assert client.protocol_version == LEGACY
        assert text_of(await client.call_tool("echo", {"message": "found"})) == "Echo: found"


async def test_a_client_that_insists_on_the_modern_era_is_told_which_ones_there_are(doors: dict[tuple[str, str], Door]) -> None:
    async with Person().client(doors["reverse", "stdio"](), MODERN) as client:
        with pytest.raises(MCPError) as caught:
            await client.list_tools()
    assert caught.value.code == -32022
    assert LEGACY in caught.value.error.data["supported"]


def test_the_same_conversation_on_asyncio(door: Door) -> None:
    person = Person("Mary")

    async def converse() -> None:
        with anyio.fail_after(30):
            async with person.client(door()) as client:
                await client.call_tool("trigger-long-running-operation", {"duration": 0.2, "steps": 2}, progress_callback=person.hear)
                assert "said by Mary" in text_of(await client.call_tool("trigger-sampling-request", {"prompt": "who"}))
                await together(client)
                while "roots" not in person.asked:
                    await anyio.sleep(0.01)

    anyio.run(converse, backend="asyncio")
    assert person.progress == [1, 2]


async def test_two_clients_that_count_alike_get_their_own_answers(door: Door) -> None:
    """The SDK numbers its requests from the same start in every client, so every id is there twice."""
    async with meeting(door, Person()) as client, meeting(door, Person()) as other, trio.open_nursery() as nursery:
        nursery.start_soon(together, client, 1)
        nursery.start_soon(together, other, 1000)


async def together(client: Client, unit: int = 1) -> None:
    """Twenty calls at once, each with an answer of its own."""
    answers: dict[int, str] = {}

    async def ask(number: int) -> None:
        answers[number] = text_of(await client.call_tool("get-sum", {"a": number, "b": unit}))

    async with anyio.create_task_group() as asking:
        for number in range(20):
            asking.start_soon(ask, number)
    assert answers == {number: f"The sum of {number} and {unit} is {number + unit}." for number in range(20)}
