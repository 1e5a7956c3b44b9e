"""The page that plays a tape, in Chromium, from the file: what it shows, what it lets one do, and that nothing on the tape can do anything."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conversations import conversation
from real.clients.devtools import Page
from tapes import HEADER, notification, request, response, write_tape

from shadowproxy.cli import main
from shadowproxy.tape.frame import Frame

HOSTILE = "</script><script>document.title='broken out'</script><!-- <script> \u2028 \u202e <img src=x onerror=\"document.title='broken out'\"> ]]>"
SHOWN = "[...document.querySelectorAll('.row')].map(row => row.querySelector('.what').textContent)"
COUNT = "document.querySelector('#count').textContent"
CLOCK = "Number(document.querySelector('#position').textContent.split(' ')[0])"


def exported(frames: list[Frame], folder: Path) -> str:
    """The page of a tape, as the command line makes it; its address."""
    tape = write_tape(folder / "hostile & <b>name.jsonl", frames, HEADER)
    assert main.run(["tape", "export", str(tape), "--format", "html", "-o", str(folder / "page.html")]) == 0
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    hostile = [
        request(32, "tools/call", {"name": HOSTILE, "arguments": {"text": HOSTILE, "large": 2**60 + 1}}, id=HOSTILE, exchange=11, session=HOSTILE, t=61.5),
        response(33, 32, id=HOSTILE, exchange=11, result={"content": [{"type": "text", "text": HOSTILE}]}, t=61.6),
        notification(34, HOSTILE, {HOSTILE: HOSTILE}, t=62.0),
    ]
    with Page(exported([*conversation(), *hostile], folder)) as found:
        yield found


@pytest.fixture(autouse=True)
def quiet(page: Page) -> Iterator[None]:
    """Whatever was done: no request but for the page itself, no complaint, no way out of a message."""
    page.evaluate("byId('list').scrollTop = 0, byId('filter').value = '', filter(), choose(0)")
    yield
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith("file:")] == []
    assert len([url for url in page.requests if url.startswith("file:")]) == 1
    assert page.evaluate("document.title") == "hostile & <b>name.jsonl"
    assert page.evaluate("document.querySelectorAll('img, iframe, link, #details script, #list script').length") == 0


def test_the_whole_tape_is_there(page: Page) -> None:
    assert page.text("#title") == "hostile & <b>name.jsonl"
    assert page.text("#server") == "host 2 · https://server.example/mcp"
    assert page.text("#count") == "31 messages"
    assert page.evaluate("rows.length") == 31
    shown = page.evaluate(SHOWN)
    assert shown[:4] == ["initialize", "initialize", "about", "notifications/initialized"]
    assert page.evaluate("rows.find(row => row.frame.n === 32).frame.message.params.arguments.text") == HOSTILE


def test_a_row_is_told_in_full_when_it_is_chosen(page: Page) -> None:
    page.click(".row:nth-child(2)")
    assert page.evaluate("document.querySelectorAll('.row.chosen').length") == 1
    assert page.text("#details h2") == "← initialize"
    assert json.loads(page.text("#details pre"))["result"]["serverInfo"] == {"name": "host", "version": "2"}
    page.key("ArrowDown")
    assert page.text("#details h2") == "← about"
    page.key("End")
    page.key("ArrowUp")
    page.key("ArrowUp")
    assert str(2**60 + 1) in page.text("#details pre"), "numbers stay as they were spelled"
    page.key("End")
    assert page.text("#position") == "62.000 / 62.000 s"
    assert json.loads(page.text("#details pre"))["params"] == {HOSTILE: HOSTILE}


def test_a_filter_says_what_is_shown(page: Page) -> None:
    page.type("#filter", "method:tools/call & dur>200ms & !err")
    assert page.text("#count") == "2 of 31 messages"
    assert page.evaluate(SHOWN) == ["tools/call slow", "tools/call echo"]
    page.type("#filter", "tool:slow & (")
    assert page.text("#wrong").splitlines()[0] == "tool:slow & ("
    assert page.text("#wrong").splitlines()[1].index("^") == len("tool:slow & (")
    assert page.text("#count") == "2 of 31 messages", "what was shown stays"
    page.type("#filter", "err")
    assert page.text("#wrong") == ""


def test_the_timeline_goes_there(page: Page) -> None:
    page.click("#timeline", across=0.5)
    assert page.evaluate(CLOCK) == pytest.approx(31.0, abs=0.5)
    assert page.text("#details h2") == "→ end"
    later = page.evaluate("[...document.querySelectorAll('.row')].map(row => row.classList.contains('later'))")
    assert later == sorted(later), "what is still to come is dim"
    assert any(later)


def test_it_plays_at_the_speed_that_was_chosen_and_ends(page: Page) -> None:
    page.evaluate("byId('speed').value = '100'")
    page.click("#play")
    assert page.text("#play") == "Pause"
    page.until("document.querySelector('#play').textContent === 'Play'")
    assert page.text("#position") == "62.000 / 62.000 s"
    page.evaluate("byId('speed').value = '0.25'")
    page.click("#play")
    page.until(f"{CLOCK} > 0 && {CLOCK} < 30")
    page.click("#play")
    assert page.text("#play") == "Play"
    stopped = page.evaluate(CLOCK)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate(CLOCK) == stopped


def test_nothing_is_dim_until_it_is_played(tmp_path: Path) -> None:
    with Page(exported(conversation(), tmp_path)) as page:
        assert page.evaluate("document.querySelectorAll('.row.later').length") == 0
        assert page.text("#details h2") == "→ initialize"
        page.click("#play")
        page.until("document.querySelectorAll('.row.later').length > 0")


def test_texts_are_shown_as_texts(page: Page) -> None:
    """Of several lines, and none of them as markup."""
    said = f"first\n{HOSTILE}\n  third"
    page.evaluate(f"rows.push({{frame: {{n: 99, t: 63, dir: 's2c', kind: 'response', message: {{result: {{'a/b': [{json.dumps(said)}, 'one line']}}}}}}}}), filter(), choose(rows.length - 1)")
    assert (page.text("#details h3"), page.text("#details pre.text")) == ("/result/a~1b/0", said)
    assert page.evaluate("document.querySelectorAll('#details pre').length") == 2
    page.evaluate("rows.pop()")


def test_what_belongs_to_the_same_exchange_is_seen(page: Page) -> None:
    page.type("#filter", "tool:slow")
    page.click(".row:nth-child(1)")
    exchange = page.text(".row.chosen .exchange")
    assert page.evaluate("[...document.querySelectorAll('.row.kin')].map(row => row.querySelector('.exchange').textContent)") == (
        page.evaluate(f"state.shown.filter(row => String(row.frame.exchange) === '{exchange}').map(row => String(row.frame.exchange))"))  # fmt: skip


def test_escape_leaves_the_filter(page: Page) -> None:
    page.type("#filter", "err")
    page.key("Escape")
    assert page.evaluate("document.activeElement.id") == "list"


@pytest.mark.parametrize(("width", "columns"), [(1200, 8), (390, 4)])
def test_it_fits_the_screen(width: int, columns: int, page: Page) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.querySelector('.row').children].filter(cell => cell.offsetParent).length") == columns
    page.call("Emulation.clearDeviceMetricsOverride")


def test_its_own_policy_forbids_it_everything_else(tmp_path: Path) -> None:
    """Even a script that got into the page would not run, and nothing can be fetched."""
    with Page(exported(conversation(), tmp_path)) as page:
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))")
        assert page.evaluate("window.ran === undefined")
        assert page.evaluate("fetch('data:text/plain,x').then(() => 'fetched', () => 'refused')") == "refused"
        assert page.evaluate("new Promise(done => { const img = new Image(); img.onload = () => done('loaded'); img.onerror = () => done('refused'); "
                             "img.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='; })") == "refused"  # fmt: skip
        assert len(page.complaints) >= 3


def test_a_large_tape_is_no_large_page(tmp_path: Path) -> None:
    """Of a hundred thousand messages only those in view are elements; the last is reached at once."""
    url = exported([notification(n, "notifications/message", {"data": n}, t=n / 100) for n in range(1, 100_001)], tmp_path)
    with Page(url) as page:
        assert page.text("#count") == "100000 messages"
        assert page.evaluate("document.querySelectorAll('.row').length") < 200
        page.key("End")
        assert '"data":100000' in page.text(".row.chosen .payload")
        page.type("#filter", "n>99990")
        assert page.text("#count") == "10 of 100000 messages"
