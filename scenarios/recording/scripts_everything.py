"""What is said to `@modelcontextprotocol/server-everything`: a script for each thing that a conversation can hold.

In: a client that has not greeted yet, and what a script may do to its server. Each script checks what it hears, live and replayed alike.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable

from scripted_client import Json, ScriptedClient

Crash = Callable[[], Awaitable[None]]
"""Kills the server, where there is one; on a tape it dies by itself."""
WHO: dict[str, Json] = {
    "roots/list": {"roots": [{"uri": "file:///home/ada", "name": "ada"}]},
    "sampling/createMessage": {"role": "assistant", "model": "none", "content": {"type": "text", "text": "said by Ada"}},
    "elicitation/create": {"action": "accept", "content": {"name": "Ada", "check": True, "email": "ada@example.org"}},
}
"""Answers to all that it asks."""
OPERATION = "trigger-long-running-operation"


def text(result: Json) -> str:
    """All that a tool has said in words."""
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


async def tools(client: ScriptedClient, crash: Crash) -> None:
    """Words, pictures, structures."""
    assert (await client.greet())["serverInfo"]["name"] == "mcp-servers/everything"
    names = {tool["name"] for tool in (await client.result("tools/list"))["tools"]}
    assert {"echo", "get-sum"} <= names
    assert text(await client.tool("echo", message="grüß Gott \u2028 \U0001f600")) == "Echo: grüß Gott \u2028 \U0001f600"
    assert text(await client.tool("get-sum", a=2, b=40)) == "The sum of 2 and 40 is 42."
    assert [block["type"] for block in (await client.tool("get-tiny-image"))["content"]] == ["text", "image", "text"]
    assert (await client.tool("get-structured-content", location="Chicago"))["structuredContent"]["temperature"] == 36
    assert (await client.tool("get-annotated-message", messageType="error", includeImage=True))["content"][0]["annotations"]["priority"] == 1


async def errors(client: ScriptedClient, crash: Crash) -> None:
    """A tool that fails, one that does not exist, a method that does not, and what comes after all of them."""
    await client.greet()
    assert (await client.tool("get-sum", a="two"))["isError"]
    unknown = await client.ask("tools/call", name="no-such-tool", arguments={})
    assert "error" in unknown or unknown["result"]["isError"]
    assert (await client.ask("no/such/method"))["error"]["code"] == -32601
    assert "error" in await client.ask("resources/read", uri="demo://no/such/thing")
    assert text(await client.tool("echo", message="still there")) == "Echo: still there"


async def progress(client: ScriptedClient, crash: Crash) -> None:
    """Two operations at once, each with its own progress."""
    await client.greet()
    first = await client.begin("tools/call", token="one", name=OPERATION, arguments={"duration": 0.6, "steps": 3})
    await client.until(lambda: client.heard("notifications/progress"))
    second = await client.begin("tools/call", token="two", name=OPERATION, arguments={"duration": 0.3, "steps": 2})
    for asked, steps in ((first, 3), (second, 2)):
        assert f"Steps: {steps}" in text((await client.reply(asked))["result"])
    heard = client.heard("notifications/progress")
    assert [one["progress"] for one in heard if one["progressToken"] == "one"] == [1, 2, 3]
    assert [one["progress"] for one in heard if one["progressToken"] == "two"] == [1, 2]


async def cancellation(client: ScriptedClient, crash: Crash) -> None:
    """A call is given up after its first progress."""
    await client.greet()
    call = await client.begin("tools/call", token="p", name=OPERATION, arguments={"duration": 4, "steps": 16})
    await client.until(lambda: client.heard("notifications/progress"))
    await client.cancel(call)
    for number in range(3):
        assert text(await client.tool("echo", message=f"after it {number}")) == f"Echo: after it {number}"
    assert call.reply is None


async def questions(client: ScriptedClient, crash: Crash) -> None:
    """Sampling, elicitation and roots: the server asks, and goes on with what it is answered."""
    await client.greet()
    await client.until(lambda: client.was_asked)  # for roots, a moment after the handshake
    await client.until(lambda: client.heard("notifications/message"))
    assert "said by Ada" in text(await client.tool("trigger-sampling-request", prompt="say who", maxTokens=10))
    assert "- Name: Ada" in text(await client.tool("trigger-elicitation-request"))
    assert "file:///home/ada" in text(await client.tool("get-roots-list"))
    client.answers["roots/list"] = {"roots": [{"uri": "file:///srv/new", "name": "new"}]}
    await client.tell("notifications/roots/list_changed")
    await client.until(lambda: len(client.heard("notifications/message")) == 2)
    assert "file:///srv/new" in text(await client.tool("get-roots-list"))
    assert [one["method"] for one in client.was_asked] == ["roots/list", "sampling/createMessage", "elicitation/create", "roots/list"]


async def logging(client: ScriptedClient, crash: Crash) -> None:
    """What the server logs follows the level; it tells of a subscribed resource's updates."""
    uri = "demo://resource/dynamic/text/7"
    await client.greet()
    await client.result("logging/setLevel", level="emergency")
    await client.result("resources/subscribe", uri=uri)  # of which it tells at level info
    await client.result("logging/setLevel", level="info")
    await client.tool("toggle-subscriber-updates")
    await client.until(lambda: client.heard("notifications/resources/updated"))
    await client.tool("toggle-subscriber-updates")
    await client.result("resources/unsubscribe", uri=uri)
    await client.until(lambda: client.heard("notifications/message"))
    assert [one["level"] for one in client.heard("notifications/message")] == ["info"]
    assert {one["uri"] for one in client.heard("notifications/resources/updated")} == {uri}


async def offers(client: ScriptedClient, crash: Crash) -> None:
    """Resources, their templates, prompts, completion."""
    await client.greet()
    assert (await client.result("resources/list"))["resources"]
    templates = {one["uriTemplate"] for one in (await client.result("resources/templates/list"))["resourceTemplates"]}
    assert "demo://resource/dynamic/text/{resourceId}" in templates
    (document,) = (await client.result("resources/read", uri="demo://resource/static/document/features.md"))["contents"]
    assert document["text"].startswith("# ")
    assert {"args-prompt", "completable-prompt"} <= {prompt["name"] for prompt in (await client.result("prompts/list"))["prompts"]}
    prompt = await client.result("prompts/get", name="args-prompt", arguments={"city": "Zürich", "state": "ZH"})
    assert prompt["messages"][0]["content"]["text"] == "What's weather in Zürich, ZH?"
    who = {"type": "ref/prompt", "name": "completable-prompt"}
    found = await client.result("completion/complete", ref=who, argument={"name": "department", "value": "S"})
    assert found["completion"]["values"] == ["Sales", "Support"]
    found = await client.result("completion/complete", ref=who, argument={"name": "name", "value": ""}, context={"arguments": {"department": "Sales"}})
    assert found["completion"]["values"] == ["David", "Eve", "Frank"]


async def slow(client: ScriptedClient, crash: Crash) -> None:
    """A tool that takes three seconds and says nothing meanwhile."""
    await client.greet()
    assert "Duration: 3 seconds" in text(await client.tool(OPERATION, duration=3, steps=1))


async def crashing(client: ScriptedClient, crash: Crash) -> None:
    """The server is killed while it works; the client is told, and begins anew with another one."""
    await client.greet()
    call = await client.begin("tools/call", token="p", name=OPERATION, arguments={"duration": 60, "steps": 120})
    await client.until(lambda: client.heard("notifications/progress"))
    await crash()
    assert "killed by SIGKILL" in (await client.reply(call))["error"]["message"]
    await client.greet()
    assert text(await client.tool("echo", message="another one")) == "Echo: another one"


async def resumption(client: ScriptedClient, crash: Crash) -> None:
    """The stream of a call is lost after its first progress, and taken up again from there. (This server sends on the new stream only what it has
    said already, so the call must be over by then: another one takes the time.)"""
    await client.greet(listen=False)
    call = await client.begin("tools/call", token="p", name=OPERATION, arguments={"duration": 0.8, "steps": 4})
    await client.until(lambda: client.heard("notifications/progress"))
    last = client.drop(call)
    assert "Duration: 1.2 seconds" in text(await client.tool(OPERATION, duration=1.2, steps=1))
    assert call.reply is None
    await client.way.listen(last)
    assert "Steps: 4" in text((await client.reply(call))["result"])
    await client.until(lambda: len(client.replies) == 4)  # it sends the other one's again too
    assert [one["progress"] for one in client.heard("notifications/progress")] == [1, 2, 3, 4]


async def research(client: ScriptedClient, crash: Crash) -> None:
    """A task: begun by one request, asked after by others, its result fetched at the end."""
    await client.greet()
    begun = await client.result("tools/call", name="simulate-research-query", arguments={"topic": "tapes"}, task={"ttl": 60000})
    task = begun["task"]["taskId"]
    assert (await client.result("tasks/get", taskId=task))["status"] == "working"
    assert "Research Report: tapes" in text(await client.result("tasks/result", taskId=task))
    assert (await client.result("tasks/get", taskId=task))["status"] == "completed"
