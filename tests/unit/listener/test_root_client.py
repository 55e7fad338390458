"""Root on the other side of the run socket: asked once a second at most, and missed politely."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Union

import pytest

from tests.unit.desk import OTHER, RUN, Desk, look
from twitch.listener import root_client
from twitch.messages import Answer, Run, Status

TARGETS = ("/puppet/twitch", "/puppet/status")
both = pytest.mark.parametrize("target", TARGETS)


# ---- missing


async def test_a_socket_that_is_not_there_is_a_503_with_a_mend(desk: Desk) -> None:
    desk.close()
    os.unlink(desk.socket)
    for target in TARGETS:
        reply = await desk.get(target)
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        assert reply.text == (
            "The handler cannot be reached (No such file or directory); "
            "systemctl restart puppet-twitch-run.socket\n"
        )


@both
async def test_a_socket_on_which_nobody_listens_is_a_503(desk: Desk, target: str) -> None:
    desk.close()
    reply = await desk.get(target)
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert "Connection refused" in reply.text


@contextlib.contextmanager
def crowd(path: str) -> Iterator[None]:
    """Fill the backlog of a socket that nobody accepts from."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening, contextlib.ExitStack() as waiting:
        os.unlink(path)
        listening.bind(path)
        listening.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                one = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                one.setblocking(False)
                one.connect(path)
        yield


@both
async def test_a_socket_that_is_full_is_a_503(desk: Desk, target: str) -> None:
    desk.close()
    with crowd(desk.socket):
        reply = await desk.get(target)
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert reply.text == "Too many questions at once; try again\n"


STRANGE = "The handler's answer was not understood: "


@pytest.mark.parametrize(
    ("said", "text"),
    [
        pytest.param(None, "The handler left without an answer; try again", id="nothing"),
        pytest.param(b"{}", f"{STRANGE}'kind' is not one of the answers", id="no-answer"),
        pytest.param(b"x", f"{STRANGE}not JSON in UTF-8, or a key given twice", id="no-json"),
        pytest.param(b" " * 20000, f"{STRANGE}longer than 16384 bytes", id="too-much"),
    ],
)
@both
async def test_an_answer_that_is_none_is_a_503(
    desk: Desk, target: str, said: Union[bytes, None], text: str
) -> None:
    desk.root.says = lambda question: said
    reply = await desk.get(target)
    assert (reply.status, reply.headers["retry-after"], reply.text) == (503, "2", f"{text}\n")


async def test_a_root_that_leaves_before_it_has_listened_is_a_503(desk: Desk) -> None:
    # As systemd does beyond MaxConnections=: what was sent is thrown away unread.
    desk.root.deaf = True
    reply = await desk.get("/puppet/twitch")
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert reply.text == "The handler left without an answer; try again\n"


async def test_a_root_that_says_nothing_is_not_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_client, "ANSWER_TIMEOUT_S", 0.05)
    desk.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        os.unlink(desk.socket)
        listening.bind(desk.socket)
        listening.listen()
        reply = await desk.get("/puppet/twitch")
    assert (reply.status, reply.text) == (503, "No answer from the handler in 0.05 s\n")


# ---- a flood


async def flood(desk: Desk, *targets: str) -> list[int]:
    """Ask for all of these at once, each on a connection of its own; return the statuses."""
    return [reply.status for reply in await asyncio.gather(*(desk.get(target) for target in targets))]


@pytest.fixture
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered for a second is remembered for longer than any flood of these tests."""
    monkeypatch.setattr(root_client, "REMEMBER_S", 3600)


async def test_a_flood_of_triggers_is_one_question(desk: Desk, long_memory: None) -> None:
    statuses = await flood(desk, *["/puppet/twitch"] * 100)
    assert sorted(statuses) == [202] + [409] * 99
    assert len(desk.root.asked) == 1


@pytest.mark.parametrize("kind", ["busy", "disabled", "cooldown", "cannot"])
async def test_a_flood_of_refused_triggers_is_one_question(desk: Desk, long_memory: None, kind: str) -> None:
    desk.says(kind, reason="x", retry_after_s=9)
    assert len(set(await flood(desk, *["/puppet/twitch"] * 50))) == 1
    assert len(desk.root.asked) == 1


async def test_a_flood_of_triggers_of_all_kinds_is_one_question(desk: Desk, long_memory: None) -> None:
    # A node that is busy is so for every request that does not want to wait.
    desk.allow("anonymous = trigger noop tags environment=* status")
    options = ("", "?noop=true", "?noop=true&environment=x", *(f"?tags=t{number}" for number in range(20)))
    statuses = await flood(desk, *(f"/puppet/twitch{option}" for option in options))
    assert sorted(statuses) == [202] + [409] * (len(options) - 1)
    assert len(desk.root.asked) == 1


async def test_a_flood_of_questions_about_the_status_is_one_question(desk: Desk, long_memory: None) -> None:
    desk.says("status", status=look())
    assert set(await flood(desk, *["/puppet/status", "/puppet/status?max_age=1h"] * 25)) == {200, 503}
    assert desk.root.asked == [Status()]


async def test_a_flood_is_one_question_even_if_root_falls_over_it(desk: Desk, long_memory: None) -> None:
    # Each of these would be a process of root's that dies.
    desk.root.says = lambda question: None
    assert set(await flood(desk, *["/puppet/twitch"] * 20)) == {503}
    assert len(desk.root.asked) == 1


async def test_a_flood_of_requests_that_wait_is_two_questions(desk: Desk, long_memory: None) -> None:
    said = iter([Answer("started", run=RUN), Answer("queued", run=OTHER)])
    desk.root.says = lambda question: next(said)
    statuses = await flood(desk, *["/puppet/twitch?queue=true"] * 50)
    assert (set(statuses), len(desk.root.asked)) == ({202}, 2)


@pytest.mark.parametrize("kind", ["cooldown", "cannot", "invalid"])
async def test_a_flood_that_alternates_is_two_questions(desk: Desk, long_memory: None, kind: str) -> None:
    def says(question: object) -> Answer:
        return Answer(kind, reason="x", retry_after_s=9) if isinstance(question, Run) else idle

    idle = Answer("status", status=look())
    desk.root.says = says
    for target in TARGETS * 10:
        await desk.get(target)
    assert len(desk.root.asked) == 2


@pytest.mark.parametrize("kind", ["disabled", "cannot"])
async def test_a_flood_of_requests_that_would_wait_in_vain_is_one_question(
    desk: Desk, long_memory: None, kind: str
) -> None:
    desk.allow("anonymous = trigger tags")
    desk.says(kind, reason="x")
    targets = ["/puppet/twitch", *(f"/puppet/twitch?queue&tags=t{number}" for number in range(20))]
    assert len(set(await flood(desk, *targets))) == 1
    assert len(desk.root.asked) == 1


async def test_a_flood_of_requests_that_cannot_even_wait_is_one_question(
    desk: Desk, long_memory: None
) -> None:
    desk.allow("anonymous = trigger tags")
    desk.record(state="queued", options={"noop": False, "tags": ["mine"], "environment": None})
    desk.says("busy", run=RUN)
    assert set(await flood(desk, *(f"/puppet/twitch?queue&tags=t{number}" for number in range(20)))) == {409}
    assert len(desk.root.asked) == 1
    # Who wants the same may join, and when the slot is free, anybody may have it.
    desk.says("queued", run=RUN)
    assert (await desk.get("/puppet/twitch?queue&tags=mine")).status == 202
    desk.record(state="running")
    assert (await desk.get("/puppet/twitch?queue&tags=t1")).status == 202
    assert len(desk.root.asked) == 3


async def test_what_is_not_remembered_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # The control of the tests above: without the memory every request is a question.
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)
    await flood(desk, *["/puppet/twitch"] * 10)
    assert len(desk.root.asked) == 10


# ---- what is remembered for whom


async def test_a_configuration_that_has_changed_is_asked_about(desk: Desk, long_memory: None) -> None:
    desk.says("cannot", reason="/etc/puppet/site.pp does not exist")
    assert (await desk.get("/puppet/twitch")).status == 500
    desk.says("started", run=RUN)
    assert (await desk.get("/puppet/twitch")).status == 500
    desk.conf.write_text("[puppet]\ncommand = apply\nmanifest = /etc/puppet/other.pp\n")
    assert (await desk.get("/puppet/twitch")).status == 202


async def test_the_cooldown_is_for_anonymous_alone(desk: Desk, long_memory: None) -> None:
    def says(question: object) -> Answer:
        cool = isinstance(question, Run) and not question.named
        return Answer("cooldown", retry_after_s=9) if cool else Answer("started", run=RUN)

    desk.root.says = says
    desk.allow("token:a = trigger", "token:b = trigger", "plaintext_tokens = yes")
    assert (await desk.get("/puppet/twitch")).status == 429
    assert (await desk.get("/puppet/twitch", desk.token("a"))).status == 202
    assert (await desk.get("/puppet/twitch", desk.token("b"))).status == 409
    assert len(desk.root.asked) == 2


async def test_a_run_changes_the_status(desk: Desk, long_memory: None) -> None:
    desk.says("status", status=look("disabled", reason=""))
    await desk.get("/puppet/status")
    desk.says("started", run=RUN)
    await desk.get("/puppet/twitch")
    desk.says("status", status=look("running", run=RUN))
    assert (await desk.get("/puppet/status")).text == "running\n"


async def test_who_has_read_idle_does_not_hear_of_a_run_that_is_over(desk: Desk, long_memory: None) -> None:
    await desk.get("/puppet/twitch")
    desk.says("status", status=look())
    assert (await desk.get("/puppet/status")).text == "idle\n"
    desk.says("started", run=OTHER)
    assert (await desk.get("/puppet/twitch")).status == 202


async def test_what_was_said_of_a_run_holds_as_long_as_its_state(desk: Desk, long_memory: None) -> None:
    desk.says("queued", run=RUN)
    desk.record(state="queued")
    assert (await desk.get("/puppet/twitch?queue")).text == "Queued puppet run\n"
    desk.record(state="running")
    desk.says("queued", run=OTHER)
    assert (await desk.get("/puppet/twitch?queue")).headers["puppet-run"] == OTHER


async def test_root_hears_of_everybody_who_joins_a_waiting_run(desk: Desk, long_memory: None) -> None:
    desk.allow("token:a = trigger", "token:b = trigger", "plaintext_tokens = yes")
    desk.says("queued", run=RUN)
    for name in ("a", "b", "a"):
        assert (await desk.get("/puppet/twitch?queue", desk.token(name))).status == 202
    callers = [question.caller for question in desk.root.asked if isinstance(question, Run)]
    assert callers == ["token:a", "token:b"]
