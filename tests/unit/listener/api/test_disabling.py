"""Disabling and enabling over HTTP: what root is asked, and the reply for each of its answers."""

from __future__ import annotations

import time
from typing import Optional

import pytest

from tests.unit.api_under_test import RUN, ApiUnderTest, node_status
from tests.unit.wire import ADDRESS
from twitch.holds import UNKNOWN, Hold, together
from twitch.listener import root_client
from twitch.listener.api import disabling
from twitch.messages import DISABLED, ENABLED, HELD, STATUS, Answer, Disable, Enable, Question, Status

SINCE, UNTIL = 1769072700, 1769076300
HOLD = Hold("token:b", "192.0.2.9", "dump", SINCE, UNTIL)
HELD_BY = node_status("disabled", disabled=together((HOLD,)))
BY_HAND = node_status("disabled", disabled=together((Hold(UNKNOWN, "", "by hand", SINCE),)))


@pytest.fixture(autouse=True)
def granted(api: ApiUnderTest) -> None:
    api.allow("anonymous = status disable", "token:* = disable", "plaintext_tokens = yes")


async def test_disabled(api: ApiUnderTest) -> None:
    api.root_answers(DISABLED, reason=HOLD.shown(), status=HELD_BY)
    before = int(time.time())
    reply = await api.ask("POST", "/puppet/disable?reason=CHG-1+%C3%BC&for=2h&force=true")
    (question,) = api.root.asked
    assert isinstance(question, Disable)
    assert before + 7200 <= (question.until or 0) <= int(time.time()) + 7200
    assert question._replace(until=None) == Disable("anonymous", ADDRESS, "CHG-1 ü", None, force=True)
    assert reply.status == 200
    assert reply.text.startswith("Puppet disabled until 20")


async def test_disabled_in_json(api: ApiUnderTest) -> None:
    api.root_answers(DISABLED, reason=HOLD.shown(), status=HELD_BY)
    reply = await api.json("/puppet/disable?reason=x", api.token("a"), method="POST")
    assert reply["disabled"] == {
        "by": "token:b",
        "reason": "dump",
        "since": "2026-01-22T09:05:00Z",
        "until": "2026-01-22T10:05:00Z",
        "holds": [
            {
                **{"caller": "token:b", "client": "192.0.2.9", "reason": "dump"},
                **{"since": "2026-01-22T09:05:00Z", "until": "2026-01-22T10:05:00Z"},
            }
        ],
    }


async def test_usual_end_comes_from_the_configuration(api: ApiUnderTest) -> None:
    api.conf.write_text(api.conf.read_text() + "[disable]\ndefault = 10m\nmax = 1h\n")
    api.root_answers(DISABLED, status=HELD_BY)
    await api.ask("POST", "/puppet/disable?reason=x")
    (question,) = api.root.asked
    assert isinstance(question, Disable) and abs((question.until or 0) - time.time() - 600) < 60
    reply = await api.ask("POST", "/puppet/disable?reason=x&for=2h")
    assert (reply.status, reply.text.endswith("at most 1h\n")) == (400, True)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?reason=",
        "?reason=a%0Ab",
        "?reason=a%1Bb",
        "?reason=%E2%80%AEb",
        f"?reason={'a' * 201}",
        "?reason=a&for=31d",
        "?reason=a&for=0",
        "?reason=a&for=ever",
        "?reason=a&until=1",
        "?reason=a&force=yes",
        "?reason=a&wait=2d",
    ],
)
async def test_invalid_request_does_not_reach_root(api: ApiUnderTest, query: str) -> None:
    assert (await api.ask("POST", f"/puppet/disable{query}")).status == 400
    assert api.root.asked == []


@pytest.mark.parametrize("target", ["/puppet/disable?reason=x", "/puppet/enable"])
async def test_only_post_and_no_browser(api: ApiUnderTest, target: str) -> None:
    assert (await api.get(target)).status == 405
    assert (await api.ask("POST", target, "Origin: http://evil.example.com")).status == 403
    assert api.root.asked == []


async def test_run_that_goes_on_is_202(api: ApiUnderTest) -> None:
    api.record()
    api.root_answers(DISABLED, run=RUN, status=HELD_BY._replace(run=RUN, pid=7))
    reply = await api.ask("POST", "/puppet/disable?reason=x")
    assert (reply.status, reply.headers["puppet-run"]) == (202, RUN)
    assert reply.text.endswith("; a Puppet run is still under way\n")
    api.root_answers(DISABLED, status=HELD_BY._replace(pid=7))
    reply = await api.ask("POST", "/puppet/disable?reason=x")
    assert (reply.status, "puppet-run" in reply.headers) == (202, False)


@pytest.mark.parametrize("run", [RUN, None], ids=["our-run", "foreign-run"])
async def test_caller_that_waits_hears_of_the_end(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch, run: Optional[str]
) -> None:
    monkeypatch.setattr(disabling, "LOOK_S", 0.01)
    monkeypatch.setattr(disabling, "ENDED_LOOK_S", 0.01)
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)
    api.record()
    busy, looks = HELD_BY._replace(run=run, pid=7), []

    def answer(question: Question) -> Answer:
        if isinstance(question, Disable):
            return Answer(DISABLED, run=run, status=busy)
        looks.append(question)
        if len(looks) == 2:
            api.finish("changed")
        return Answer(STATUS, status=HELD_BY if len(looks) > 2 else busy)

    if run:
        api.finish("changed")
    api.root.answer_to = answer
    reply = await api.ask("POST", "/puppet/disable?reason=x&wait=1m")
    assert reply.status == 200
    assert looks == [Status()] * 3


async def test_enabled(api: ApiUnderTest) -> None:
    api.root_answers(ENABLED)
    reply = await api.ask("POST", "/puppet/enable?force=true")
    assert (reply.status, reply.text) == (200, "Puppet enabled\n")
    assert api.root.asked == [Enable("anonymous", ADDRESS, force=True)]


async def test_others_that_hold_are_named_to_callers_that_may_see_them(api: ApiUnderTest) -> None:
    api.root_answers(HELD, reason=HOLD.shown(), status=HELD_BY)
    reply = await api.ask("POST", "/puppet/enable", api.token("a"))
    assert (reply.status, reply.text) == (
        409,
        "Puppet is still disabled by others: dump (token:b at 192.0.2.9, until 2026-01-22T10:05:00Z);"
        " force=true enables it all the same\n",
    )
    reply = await api.ask("POST", "/puppet/enable")
    assert reply.text == "Puppet is still disabled by others; force=true enables it all the same\n"


async def test_lock_of_another_tool_is_409_with_its_text(api: ApiUnderTest) -> None:
    api.root_answers(HELD, reason="by hand", status=BY_HAND)
    reply = await api.ask("POST", "/puppet/disable?reason=x", api.token("a"))
    text = "Puppet was not disabled by puppet-twitch: by hand; force=true adds a hold to that\n"
    assert (reply.status, reply.text) == (409, text)


@pytest.mark.parametrize(("kind", "status"), [("cannot", 500), ("invalid", 400)])
async def test_other_answers(api: ApiUnderTest, kind: str, status: int) -> None:
    api.root_answers(kind, reason="word")
    reply = await api.ask("POST", "/puppet/disable?reason=x", api.token("a"))
    assert (reply.status, reply.text) == (status, "Puppet cannot be disabled: word\n")


async def test_each_request_reaches_root(api: ApiUnderTest) -> None:
    # No answer is repeated for another request, and none of before is valid any more.
    api.root_answers(STATUS, status=node_status("idle"))
    await api.get("/puppet/status")
    api.root_answers(DISABLED, status=HELD_BY)
    for _ in range(2):
        await api.ask("POST", "/puppet/disable?reason=x")
    api.root_answers(STATUS, status=HELD_BY)
    assert (await api.get("/puppet/status")).text == "disabled\n"
    assert [type(question) for question in api.root.asked] == [Status, Disable, Disable, Status]
