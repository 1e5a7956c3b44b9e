"""Handles: what a live server made up takes the place of what the recorded one did."""
from __future__ import annotations

from typing import Any

from dialogue import message, plain

from shadowproxy.tape.verifying.handles import KEPT, Handles


def answered(**result: Any) -> dict[str, Any]:
    return {"id": 1, "result": result}


def sent(handles: Handles, **params: Any) -> Any:
    request = message(id=1, method="x", params=params)
    handles.exchange(request)
    return plain(request)["params"]


def test_cursors_states_and_tasks_are_exchanged() -> None:
    handles = Handles()
    handles.learn(answered(nextCursor="old"), answered(nextCursor="new"))
    handles.learn(answered(requestState="s-old"), answered(requestState="s-new"))
    handles.learn(answered(task={"taskId": "t-old"}), answered(task={"taskId": "t-new"}))
    assert sent(handles, cursor="old", name="old") == {"cursor": "new", "name": "old"}
    assert sent(handles, requestState="s-old") == {"requestState": "s-new"}
    assert sent(handles, taskId="t-old") == {"taskId": "t-new"}


def test_what_is_not_known_stays() -> None:
    handles = Handles()
    handles.learn({"error": {}}, answered(nextCursor="new"))
    handles.learn(answered(nextCursor="old"), None)
    handles.learn(answered(nextCursor=1), answered(nextCursor=2))
    assert sent(handles, cursor="old") == {"cursor": "old"}
    handles.learn(answered(nextCursor="a"), answered(nextCursor="b"))
    assert sent(handles, cursor=7) == {"cursor": 7}
    assert sent(handles) == {}


def test_they_are_bounded() -> None:
    handles = Handles()
    for number in range(KEPT + 1):
        handles.learn(answered(nextCursor=f"old{number}"), answered(nextCursor=f"new{number}"))
    assert sent(handles, cursor="old0") == {"cursor": "old0"}
    assert sent(handles, cursor=f"old{KEPT}") == {"cursor": f"new{KEPT}"}
