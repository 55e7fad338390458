"""The client of the run socket: what it says when root cannot be asked, and which answers it remembers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Callable, Union

import pytest

from tests.unit.api_under_test import OTHER, RUN, ApiUnderTest, node_status
from twitch.errors import RootUnavailable
from twitch.listener import root_client
from twitch.listener.pause import Pause
from twitch.listener.root_client import UNAVAILABLE, Kept, RootClient
from twitch.messages import ANSWERS, Answer, Cancel, Metrics, Question, Run, Status
from twitch.records import Options, Record

TARGETS = ("/puppet/twitch", "/puppet/status")
both = pytest.mark.parametrize("target", TARGETS)


# ---- root cannot be asked


async def test_missing_run_socket_is_a_503_that_says_how_to_fix_it(api: ApiUnderTest) -> None:
    api.close()
    os.unlink(api.socket)
    for target in TARGETS:
        reply = await api.get(target)
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        assert reply.text == (
            "The handler cannot be reached (No such file or directory); "
            "systemctl restart puppet-twitch-run.socket\n"
        )


@both
async def test_run_socket_without_a_listener_is_a_503(api: ApiUnderTest, target: str) -> None:
    api.close()
    reply = await api.get(target)
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert "Connection refused" in reply.text


@contextlib.contextmanager
def full_backlog(path: str) -> Iterator[None]:
    """Replace the socket by one whose backlog is full and from which nothing accepts."""
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
async def test_run_socket_with_a_full_backlog_is_a_503(api: ApiUnderTest, target: str) -> None:
    api.close()
    with full_backlog(api.socket):
        reply = await api.get(target)
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert reply.text == "Too many questions at once; try again\n"


NOT_UNDERSTOOD = "The handler's answer was not understood: "


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        pytest.param(None, "The handler left without an answer; try again", id="nothing"),
        pytest.param(b"{}", f"{NOT_UNDERSTOOD}'kind' is not one of the answers", id="no-answer"),
        pytest.param(b"x", f"{NOT_UNDERSTOOD}not JSON in UTF-8, or a key given twice", id="no-json"),
        pytest.param(b" " * 200000, f"{NOT_UNDERSTOOD}longer than 196608 bytes", id="too-much"),
    ],
)
@both
async def test_invalid_answer_is_a_503(
    api: ApiUnderTest, target: str, packet: Union[bytes, None], text: str
) -> None:
    api.root.answer_to = lambda question: packet
    reply = await api.get(target)
    assert (reply.status, reply.headers["retry-after"], reply.text) == (503, "2", f"{text}\n")


async def test_root_that_hangs_up_before_it_reads_is_a_503(api: ApiUnderTest) -> None:
    # As systemd does above MaxConnections=: the packet is never read.
    api.root.never_reads = True
    reply = await api.get("/puppet/twitch")
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert reply.text == "The handler left without an answer; try again\n"


async def test_root_that_does_not_answer_in_time_is_a_503(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_client, "ANSWER_TIMEOUT_S", 0.05)
    api.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        os.unlink(api.socket)
        listening.bind(api.socket)
        listening.listen()
        reply = await api.get("/puppet/twitch")
    assert (reply.status, reply.text) == (503, "No answer from the handler in 0.05 s\n")


# ---- a flood


async def flood(api: ApiUnderTest, *targets: str) -> list[int]:
    """Send all requests at once, each on a connection of its own; return the statuses."""
    return [reply.status for reply in await asyncio.gather(*(api.get(target) for target in targets))]


@pytest.fixture
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember answers for longer than any of these tests takes."""
    monkeypatch.setattr(root_client, "REMEMBER_S", 3600)


async def test_flood_of_triggers_is_one_question(api: ApiUnderTest, long_memory: None) -> None:
    statuses = await flood(api, *["/puppet/twitch"] * 100)
    assert sorted(statuses) == [202] + [409] * 99
    assert len(api.root.asked) == 1


@pytest.mark.parametrize("kind", ["busy", "disabled", "cooldown", "cannot"])
async def test_flood_of_refused_triggers_is_one_question(
    api: ApiUnderTest, long_memory: None, kind: str
) -> None:
    api.root_answers(kind, reason="x", retry_after_s=9)
    assert len(set(await flood(api, *["/puppet/twitch"] * 50))) == 1
    assert len(api.root.asked) == 1


async def test_flood_of_triggers_of_all_kinds_is_one_question(api: ApiUnderTest, long_memory: None) -> None:
    # A busy node is busy for every request that does not queue.
    api.allow("anonymous = trigger noop tags environment=* status")
    options = ("", "?noop=true", "?noop=true&environment=x", *(f"?tags=t{number}" for number in range(20)))
    statuses = await flood(api, *(f"/puppet/twitch{option}" for option in options))
    assert sorted(statuses) == [202] + [409] * (len(options) - 1)
    assert len(api.root.asked) == 1


async def test_flood_of_status_requests_is_one_question(api: ApiUnderTest, long_memory: None) -> None:
    api.root_answers("status", status=node_status())
    assert set(await flood(api, *["/puppet/status", "/puppet/status?max_age=1h"] * 25)) == {200, 503}
    assert api.root.asked == [Status()]


async def test_flood_is_one_question_if_root_does_not_answer(api: ApiUnderTest, long_memory: None) -> None:
    # Each question could start another root process that crashes.
    api.root.answer_to = lambda question: None
    assert set(await flood(api, *["/puppet/twitch"] * 20)) == {503}
    assert len(api.root.asked) == 1


async def test_flood_of_equal_queue_requests_is_two_questions(api: ApiUnderTest, long_memory: None) -> None:
    answers = iter([Answer("started", run=RUN), Answer("queued", run=OTHER)])
    api.root.answer_to = lambda question: next(answers)
    statuses = await flood(api, *["/puppet/twitch?queue=true"] * 50)
    assert (set(statuses), len(api.root.asked)) == ({202}, 2)


@pytest.mark.parametrize("kind", ["cooldown", "cannot", "invalid"])
async def test_flood_of_alternating_requests_is_two_questions(
    api: ApiUnderTest, long_memory: None, kind: str
) -> None:
    def answer_to(question: object) -> Answer:
        return Answer(kind, reason="x", retry_after_s=9) if isinstance(question, Run) else idle

    idle = Answer("status", status=node_status())
    api.root.answer_to = answer_to
    for target in TARGETS * 10:
        await api.get(target)
    assert len(api.root.asked) == 2


@pytest.mark.parametrize("kind", ["disabled", "cannot"])
async def test_flood_of_refused_queue_requests_is_one_question(
    api: ApiUnderTest, long_memory: None, kind: str
) -> None:
    api.allow("anonymous = trigger tags")
    api.root_answers(kind, reason="x")
    targets = ["/puppet/twitch", *(f"/puppet/twitch?queue&tags=t{number}" for number in range(20))]
    assert len(set(await flood(api, *targets))) == 1
    assert len(api.root.asked) == 1


async def test_flood_of_requests_for_a_full_queue_is_one_question(
    api: ApiUnderTest, long_memory: None
) -> None:
    api.allow("anonymous = trigger tags")
    api.record(state="queued", options=Options(tags=("mine",)))
    api.root_answers("full", run=RUN)
    assert set(await flood(api, *(f"/puppet/twitch?queue&tags=t{number}" for number in range(20)))) == {409}
    assert len(api.root.asked) == 1
    # An equal request joins the run in the queue; when its place is free, any request may take it.
    api.root_answers("queued", run=RUN)
    assert (await api.get("/puppet/twitch?queue&tags=mine")).status == 202
    api.record(state="running")
    assert (await api.get("/puppet/twitch?queue&tags=t1")).status == 202
    assert len(api.root.asked) == 3


async def test_without_the_memory_every_request_is_a_question(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The control of the tests above.
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)
    await flood(api, *["/puppet/twitch"] * 10)
    assert len(api.root.asked) == 10


# ---- when an answer is remembered


async def test_changed_configuration_forgets_all_answers(api: ApiUnderTest, long_memory: None) -> None:
    api.root_answers("cannot", reason="/etc/puppet/site.pp does not exist")
    assert (await api.get("/puppet/twitch")).status == 500
    api.root_answers("started", run=RUN)
    assert (await api.get("/puppet/twitch")).status == 500
    api.conf.write_text("[puppet]\ncommand = apply\nmanifest = /etc/puppet/other.pp\n")
    assert (await api.get("/puppet/twitch")).status == 202


async def test_remembered_cooldown_is_for_anonymous_callers_only(
    api: ApiUnderTest, long_memory: None
) -> None:
    def answer_to(question: object) -> Answer:
        anonymous = isinstance(question, Run) and not question.named
        return Answer("cooldown", retry_after_s=9) if anonymous else Answer("started", run=RUN)

    api.root.answer_to = answer_to
    api.allow("token:a = trigger", "token:b = trigger", "plaintext_tokens = yes")
    assert (await api.get("/puppet/twitch")).status == 429
    assert (await api.get("/puppet/twitch", api.token("a"))).status == 202
    assert (await api.get("/puppet/twitch", api.token("b"))).status == 409
    assert len(api.root.asked) == 2


async def test_started_run_forgets_the_status(api: ApiUnderTest, long_memory: None) -> None:
    api.root_answers("status", status=node_status("disabled", reason=""))
    await api.get("/puppet/status")
    api.root_answers("started", run=RUN)
    await api.get("/puppet/twitch")
    api.root_answers("status", status=node_status("running", run=RUN))
    assert (await api.get("/puppet/status")).text == "running\n"


async def test_idle_status_forgets_that_puppet_was_busy(api: ApiUnderTest, long_memory: None) -> None:
    await api.get("/puppet/twitch")
    api.root_answers("status", status=node_status())
    assert (await api.get("/puppet/status")).text == "idle\n"
    api.root_answers("started", run=OTHER)
    assert (await api.get("/puppet/twitch")).status == 202


async def test_answer_about_a_run_is_forgotten_when_its_state_changes(
    api: ApiUnderTest, long_memory: None
) -> None:
    api.root_answers("queued", run=RUN)
    api.record(state="queued")
    assert (await api.get("/puppet/twitch?queue")).text == "Queued puppet run\n"
    api.record(state="running")
    api.root_answers("queued", run=OTHER)
    assert (await api.get("/puppet/twitch?queue")).headers["puppet-run"] == OTHER


async def test_root_is_asked_for_each_caller_that_joins_the_queue(
    api: ApiUnderTest, long_memory: None
) -> None:
    api.allow("token:a = trigger", "token:b = trigger", "plaintext_tokens = yes")
    api.root_answers("queued", run=RUN)
    for name in ("a", "b", "a"):
        assert (await api.get("/puppet/twitch?queue", api.token(name))).status == 202
    callers = [question.caller for question in api.root.asked if isinstance(question, Run)]
    assert callers == ["token:a", "token:b"]


async def test_full_queue_is_not_remembered_if_the_run_has_already_begun(
    api: ApiUnderTest, long_memory: None
) -> None:
    # The run in the queue begins after root has answered, and before the listener reads its record.
    api.allow("anonymous = trigger tags")
    api.record(state="running", options=Options(tags=("mine",)))
    api.root_answers("full", run=RUN)
    assert (await api.get("/puppet/twitch?queue&tags=t1")).status == 409
    api.root_answers("queued", run=OTHER)
    assert (await api.get("/puppet/twitch?queue&tags=t2")).status == 202


# ---- which question gets which remembered answer

ANONYMOUS = Run("anonymous", "192.0.2.7")
NAMED = Run("token:a", "192.0.2.7", named=True)
CANCEL = Cancel(RUN, "token:a", "192.0.2.7")
WAITING = Record(RUN, "queued", 0.0, options=Options(tags=("a",)))
TAGS_A, TAGS_B = ANONYMOUS._replace(tags=("a",)), ANONYMOUS._replace(tags=("b",))


def queue(question: Run) -> Run:
    return question._replace(queue=True)


EVERY = [kind for kind in (*ANSWERS, UNAVAILABLE) if kind not in ("started", "status", "metrics")]
SAME_FOR_ALL = [kind for kind in EVERY if kind not in ("busy", "queued", "full")]

# name -> the kinds of the remembered answer, the question before, the question now, whether root need not
# be asked. The record of the run is WAITING.
COVERED: dict[str, tuple[list[str], Question, Question, bool]] = {
    # A status covers a status, and no run.
    "status": (["status", UNAVAILABLE, "cannot"], Status(), Status(), True),
    "status-for-run": (["status", UNAVAILABLE, "cannot"], Status(), ANONYMOUS, False),
    "metrics": (["metrics", UNAVAILABLE, "cannot"], Metrics(), Metrics(), True),
    "metrics-for-status": (["metrics", UNAVAILABLE, "cannot"], Metrics(), Status(), False),
    "status-for-metrics": (["status", UNAVAILABLE, "cannot"], Status(), Metrics(), False),
    "run-for-status": (EVERY, ANONYMOUS, Status(), False),
    # Nothing covers a cancel.
    "run-for-cancel": (EVERY, ANONYMOUS, CANCEL, False),
    "status-for-cancel": (["status", UNAVAILABLE, "cannot"], Status(), CANCEL, False),
    # The answer to an anonymous caller never covers a named one; the other way round it does.
    "anonymous-for-named": (EVERY, ANONYMOUS, NAMED, False),
    "anonymous-for-named-queue": (EVERY, queue(ANONYMOUS), queue(NAMED), False),
    "named-for-anonymous": (["busy", *SAME_FOR_ALL], NAMED, ANONYMOUS, True),
    "named-for-other-named": (["busy", *SAME_FOR_ALL], NAMED, NAMED._replace(caller="token:b"), True),
    # Whatever the options, the queue and the address are.
    "same-for-all": (SAME_FOR_ALL, ANONYMOUS, TAGS_A, True),
    "same-for-all-queue": (SAME_FOR_ALL, ANONYMOUS, queue(TAGS_A), True),
    "same-for-all-after-queue": (SAME_FOR_ALL, queue(TAGS_A), ANONYMOUS, True),
    "same-for-all-address": (SAME_FOR_ALL, ANONYMOUS, ANONYMOUS._replace(client="192.0.2.8"), True),
    # Busy is for requests that do not queue, even if the question before did.
    "busy": (["busy"], ANONYMOUS, TAGS_A, True),
    "busy-noop": (["busy"], ANONYMOUS, ANONYMOUS._replace(noop=True), True),
    "busy-queue": (["busy"], ANONYMOUS, queue(ANONYMOUS), False),
    "busy-after-queue": (["busy"], queue(ANONYMOUS), ANONYMOUS, True),
    # Queued is for an equal request: of any anonymous caller, or of the same named one.
    "queued": (["queued"], queue(TAGS_A), queue(TAGS_A), True),
    "queued-named": (["queued"], queue(NAMED), queue(NAMED), True),
    "queued-no-queue": (["queued"], queue(TAGS_A), TAGS_A, False),
    "queued-other-tags": (["queued"], queue(TAGS_A), queue(TAGS_B), False),
    "queued-other-noop": (["queued"], queue(TAGS_A), queue(TAGS_A._replace(noop=True)), False),
    "queued-other-environment": (["queued"], queue(TAGS_A), queue(TAGS_A._replace(environment="x")), False),
    "queued-other-caller": (["queued"], queue(NAMED), queue(NAMED._replace(caller="token:b")), False),
    "queued-anonymous-after-named": (["queued"], queue(NAMED), queue(ANONYMOUS), True),
    "queued-unnamed-token": (["queued"], queue(TAGS_A), queue(TAGS_A._replace(caller="token:x")), True),
    "queued-other-address": (["queued"], queue(TAGS_A), queue(TAGS_A._replace(client="192.0.2.8")), True),
    "queued-named-elsewhere": (["queued"], queue(NAMED), queue(NAMED._replace(client="192.0.2.8")), True),
    "queued-named-after-anonymous": (["queued"], queue(ANONYMOUS), queue(NAMED), False),
    # Full is for requests that queue, but not for one that equals the run in the queue.
    "full": (["full"], queue(TAGS_B), queue(ANONYMOUS), True),
    "full-no-queue": (["full"], queue(TAGS_B), ANONYMOUS, False),
    "full-joins": (["full"], queue(TAGS_B), queue(TAGS_A), False),
    "full-named-for-anonymous": (["full"], queue(NAMED), queue(ANONYMOUS), True),
}


@pytest.mark.parametrize(("kinds", "before", "question", "covered"), COVERED.values(), ids=COVERED)
def test_remembered_answer_covers_a_question(
    kinds: list[str], before: Question, question: Question, covered: bool
) -> None:
    for kind in kinds:
        kept = Kept(before, Answer(kind, run=RUN), until=0.0, record=WAITING)
        assert kept.covers(question) is covered, kind


def test_answer_about_the_queue_covers_nothing_if_the_run_has_begun() -> None:
    begun = WAITING._replace(state="running")
    full = Kept(queue(TAGS_B), Answer("full", run=RUN), until=0.0, record=begun)
    assert not full.covers(queue(ANONYMOUS))
    queued = Kept(queue(TAGS_A), Answer("queued", run=RUN), until=0.0, record=begun)
    assert not queued.covers(queue(TAGS_A))


def test_answer_about_the_queue_without_a_record() -> None:
    # Whether a request equals the run in the queue is not known, so root is asked.
    full = Kept(queue(TAGS_B), Answer("full", run=RUN), until=0.0, record=None)
    assert not full.covers(queue(ANONYMOUS))
    queued = Kept(queue(TAGS_A), Answer("queued", run=RUN), until=0.0, record=None)
    assert queued.covers(queue(TAGS_A))


def test_every_kind_of_answer_is_in_the_table() -> None:
    kinds = {kind for row in COVERED.values() for kind in row[0]}
    assert kinds == {*ANSWERS, UNAVAILABLE} - {"started"}  # which is remembered as busy


# ---- turns

EXTRA = Run("anonymous", "192.0.2.9", queue=True)


async def wait_until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


class Slow:
    """Root, which answers when it is told to; each question gets another run, so that none is covered."""

    def __init__(self, api: ApiUnderTest) -> None:
        self.goes_on = threading.Semaphore(0)
        self.client = RootClient(api.store, api.socket)
        self.asked = api.root.asked
        api.root.answer_to = self._answer

    def _answer(self, question: object) -> Answer:
        self.goes_on.acquire()
        return Answer("queued", run=f"{len(self.asked):032x}")

    def ask(self, question: Run, *, named: bool = False) -> tuple[Pause, asyncio.Task[Answer]]:
        pause = Pause(lambda: True)
        pause.named = named
        return pause, asyncio.create_task(self.client.ask(question, pause))


async def test_named_callers_are_asked_before_anonymous_ones(api: ApiUnderTest) -> None:
    slow = Slow(api)
    tasks = [slow.ask(EXTRA._replace(tags=(f"t{number}",)))[1] for number in range(3)]
    await wait_until(lambda: slow.asked)
    for name in ("token:a", "token:b"):
        tasks.append(slow.ask(EXTRA._replace(caller=name, named=True), named=True)[1])
    await asyncio.sleep(0)
    for _ in tasks:
        slow.goes_on.release()
    await asyncio.gather(*tasks)
    asked = [question for question in slow.asked if isinstance(question, Run)]
    callers = [question.caller for question in asked]
    assert callers == ["anonymous", "token:a", "token:b", "anonymous", "anonymous"]
    assert [question.tags for question in asked if question.tags] == [("t0",), ("t1",), ("t2",)]


async def test_caller_that_makes_room_before_its_turn_is_not_asked(api: ApiUnderTest) -> None:
    slow = Slow(api)
    _, first = slow.ask(EXTRA)
    await wait_until(lambda: slow.asked)
    pause, displaced = slow.ask(EXTRA._replace(tags=("a",)))
    _, last = slow.ask(EXTRA._replace(tags=("b",)))
    await wait_until(lambda: pause.waits_for == "root")
    pause.end()  # no point in waiting for a run: this concerns no turn
    await asyncio.sleep(0)
    assert not displaced.done()
    pause.end(displaced=True)
    with pytest.raises(RootUnavailable, match="Too many requests at once"):
        await displaced
    assert pause.waits_for is None
    slow.goes_on.release()
    slow.goes_on.release()
    await asyncio.gather(first, last)
    assert [question.tags for question in slow.asked if isinstance(question, Run)] == [(), ("b",)]


async def test_remembered_answer_needs_no_turn(api: ApiUnderTest, long_memory: None) -> None:
    slow = Slow(api)
    slow.goes_on.release()
    answer = await slow.client.ask(EXTRA)
    _, waiting = slow.ask(EXTRA._replace(tags=("a",)))
    await wait_until(lambda: len(slow.asked) == 2)
    assert await slow.client.ask(EXTRA._replace(client="198.51.100.1")) == answer
    slow.goes_on.release()
    await waiting


async def test_joined_requests_of_anonymous_callers_are_counted(api: ApiUnderTest, long_memory: None) -> None:
    counted: list[tuple[str, str]] = []
    api.root_answers("queued", run=RUN)
    client = RootClient(api.store, api.socket, lambda address, run: counted.append((address, run)))
    named = EXTRA._replace(caller="token:a", named=True)
    for question in (EXTRA, EXTRA, EXTRA._replace(client="198.51.100.1"), named, named):
        await client.ask(question)
    assert counted == [("192.0.2.9", RUN), ("198.51.100.1", RUN)]
    assert api.root.asked == [EXTRA, named]


@pytest.mark.parametrize(("missing", "told"), [(True, 1), (False, 0)], ids=["no-socket", "no-answer"])
async def test_a_missing_run_socket_is_reported_to_the_listener(
    api: ApiUnderTest, missing: bool, told: int
) -> None:
    lost: list[None] = []
    path = f"{api.socket}.none" if missing else api.socket
    api.root_answers("unavailable", reason="Puppet cannot be asked")
    client = RootClient(api.store, path, lost=lambda: lost.append(None))
    with pytest.raises(RootUnavailable):
        await client.ask(EXTRA)
    assert len(lost) == told
