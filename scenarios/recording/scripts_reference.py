"""What is said to the other reference servers: files, memory, thoughts (Node); time, fetch, git (Python), in both eras.

In: a client that has not greeted yet. Their world is `servers.py:World`: a folder, a repository, a page.
"""
from __future__ import annotations

import json

from scripted_client import Json, ScriptedClient
from scripts_everything import Crash, text

FOLDER, PAGE = "/tmp/scenario", "http://127.0.0.1:18931/"
LARGE = 200_000


async def files(client: ScriptedClient, crash: Crash) -> None:
    """Written, read, changed, listed; and what is outside stays outside."""
    await client.greet()
    assert "write_file" in {tool["name"] for tool in (await client.result("tools/list"))["tools"]}
    await client.tool("create_directory", path=f"{FOLDER}/notes")
    await client.tool("write_file", path=f"{FOLDER}/notes/today.txt", content="Eins\nZwei\nDrei\n")
    assert text(await client.tool("read_text_file", path=f"{FOLDER}/notes/today.txt", head=2)).startswith("Eins\nZwei")
    edited = await client.tool("edit_file", path=f"{FOLDER}/notes/today.txt", edits=[{"oldText": "Zwei", "newText": "Zwo"}], dryRun=False)
    assert "+Zwo" in text(edited)
    assert "[FILE] today.txt" in text(await client.tool("list_directory", path=f"{FOLDER}/notes"))
    assert f"{FOLDER}/notes/today.txt" in text(await client.tool("search_files", path=f"{FOLDER}/notes", pattern="**/*.txt"))
    outside = await client.tool("read_text_file", path="/etc/hostname")
    assert outside["isError"]
    assert "Access denied" in text(outside)


async def large_file(client: ScriptedClient, crash: Crash) -> None:
    """A result of hundreds of kilobytes, and a small one after it."""
    await client.greet()
    assert len(text(await client.tool("read_text_file", path=f"{FOLDER}/large.txt"))) == LARGE
    assert text(await client.tool("read_text_file", path=f"{FOLDER}/small.txt")) == "small\n"


async def memory(client: ScriptedClient, crash: Crash) -> None:
    """A graph that grows, is asked, and shrinks."""
    await client.greet()
    entities = [{"name": name, "entityType": "person", "observations": [f"{name} was here"]} for name in ("Ada", "Grace")]
    await client.tool("create_entities", entities=entities)
    await client.tool("create_relations", relations=[{"from": "Ada", "to": "Grace", "relationType": "knows"}])
    await client.tool("add_observations", observations=[{"entityName": "Ada", "contents": ["likes tapes"]}])
    assert "likes tapes" in text(await client.tool("search_nodes", query="tapes"))
    await client.tool("delete_entities", entityNames=["Grace"])
    graph = json.loads(text(await client.tool("read_graph")))
    assert ([one["name"] for one in graph["entities"]], graph["relations"]) == (["Ada"], [])


async def thoughts(client: ScriptedClient, crash: Crash) -> None:
    """Three in a row, one of them a revision."""
    await client.greet()
    thinking: Json = {"totalThoughts": 3, "nextThoughtNeeded": True}
    await client.tool("sequentialthinking", thought="A tape is a list of frames.", thoughtNumber=1, **thinking)
    await client.tool("sequentialthinking", thought="Each frame is a line.", thoughtNumber=2, **thinking)
    last = await client.tool("sequentialthinking", thought="A tape is lines.", thoughtNumber=3, totalThoughts=3, nextThoughtNeeded=False,
                             isRevision=True, revisesThought=1)  # fmt: skip
    assert json.loads(text(last))["thoughtHistoryLength"] == 3


async def time(client: ScriptedClient, crash: Crash) -> None:
    """What time it is elsewhere, and nowhere."""
    await client.greet()
    assert {tool["name"] for tool in (await client.result("tools/list"))["tools"]} == {"get_current_time", "convert_time"}
    assert json.loads(text(await client.tool("get_current_time", timezone="Etc/UTC")))["timezone"] == "Etc/UTC"
    converted = await client.tool("convert_time", source_timezone="Asia/Tokyo", time="09:00", target_timezone="Asia/Kolkata")
    assert json.loads(text(converted))["time_difference"] == "-3.5h"
    nowhere = await client.ask("tools/call", name="get_current_time", arguments={"timezone": "Nowhere/At_All"})
    assert "error" in nowhere or nowhere["result"]["isError"]


async def fetch(client: ScriptedClient, crash: Crash) -> None:
    """A page of our own, raw, and plain text; one that is not there. (To make words of HTML this server runs npm, which has no place here.)"""
    await client.greet()
    assert (await client.result("prompts/list"))["prompts"][0]["name"] == "fetch"
    assert "Tapes are lines" in text(await client.tool("fetch", url=f"{PAGE}tapes.txt"))
    assert "<h1>Tapes</h1>" in text(await client.tool("fetch", url=PAGE, raw=True))
    missing = await client.ask("tools/call", name="fetch", arguments={"url": f"{PAGE}missing"})
    assert "error" in missing or missing["result"]["isError"]


async def git(client: ScriptedClient, crash: Crash) -> None:
    """A repository is looked at, changed, and committed to."""
    repo = f"{FOLDER}/repo"
    await client.greet()
    assert "a.txt" in text(await client.tool("git_diff_unstaged", repo_path=repo))
    assert "First words" in text(await client.tool("git_log", repo_path=repo, max_count=5))
    await client.tool("git_add", repo_path=repo, files=["a.txt"])
    assert "a.txt" in text(await client.tool("git_status", repo_path=repo))
    await client.tool("git_reset", repo_path=repo)
    assert "tapes" in text(await client.tool("git_create_branch", repo_path=repo, branch_name="tapes"))
    nowhere = await client.ask("tools/call", name="git_show", arguments={"repo_path": repo, "revision": "no-such-revision"})
    assert "error" in nowhere or nowhere["result"]["isError"]
