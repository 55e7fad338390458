"""The privacy policy: each field is shown to its audience and to nobody else, in text, JSON and errors."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.unit.api_under_test import RUN, ApiUnderTest
from twitch import run_wording, views, wording
from twitch.caller import Caller
from twitch.holds import Disabled, Hold
from twitch.listener import root_client
from twitch.listener.api import routes
from twitch.messages import (
    ANSWERS,
    BUSY,
    CANCELLED,
    CANNOT,
    COOLDOWN,
    DISABLED,
    ENABLED,
    ENDED,
    FOREIGN,
    FULL,
    HELD,
    INVALID,
    LOCAL,
    METRICS,
    MISCONFIGURED,
    NO_RUN,
    QUEUED,
    STARTED,
    STATUS,
    Answer,
)
from twitch.node_status import NODE_STATES, RUNNING, Doing, LastRun, NodeStatus
from twitch.records import FINISHED, VERDICTS, Cancelled, Left, Options, Record
from twitch.resources import Event, Resource
from twitch.views import EVERYONE, LOGS, NAMED, NOBODY, REASONS

# ---- the tables


def test_every_field_of_a_run_has_an_audience() -> None:
    assert sorted(views.RUN) == sorted(Record._fields)


def test_every_field_of_a_status_has_an_audience() -> None:
    assert sorted(views.STATUS) == sorted(NodeStatus._fields)
    assert sorted(views.DISABLED) == sorted(Disabled._fields)


def test_public_fields_are_states_verdicts_and_numbers() -> None:
    assert visible(views.STATUS, {EVERYONE}) == {"state", "phase", "resources", "elapsed_s", "usual_s"} | {
        "disabled"
    }
    assert visible(views.DISABLED, {EVERYONE}) == {"since", "until"}
    assert visible(views.RUN, {EVERYONE}) == {
        *("run", "state", "verdict", "noop", "unreported", "duration_s", "counts"),
        *("would_change", "asked", "started", "ended", "started_by", "events", "phases_s"),
    }


def visible(policy: dict[str, str], audiences: set[str]) -> set[str]:
    """Return the fields that these audiences may see."""
    return {name for name, audience in policy.items() if audience in audiences}


CALLERS = {
    "anonymous": ((), False, {EVERYONE}),
    "anonymous-logs": (("logs",), False, {EVERYONE, REASONS, LOGS}),
    "named": ((), True, {EVERYONE, REASONS, NAMED}),
    "named-logs": (("logs",), True, {EVERYONE, REASONS, NAMED, LOGS}),
}
callers = pytest.mark.parametrize(("grants", "named", "audiences"), CALLERS.values(), ids=CALLERS)


@callers
def test_audiences_of_a_caller(grants: tuple[str, ...], named: bool, audiences: set[str]) -> None:
    assert views.audiences(caller(grants, named)) == audiences
    # Other grants change nothing.
    more = (*grants, "trigger", "noop", "tags", "status", "environment=*")
    assert views.audiences(caller(more, named)) == audiences
    assert NOBODY not in audiences


def caller(grants: tuple[str, ...], named: bool) -> Caller:
    return Caller("x", "192.0.2.7", frozenset(grants), named)


# ---- a record and a status with a value in each field, and a word that tells where the value is shown

TIME = 1769072700.0

FULL_RECORD = Record(
    run=RUN,
    state=FINISHED,
    asked=TIME,
    caller="word-caller",
    client="word-client",
    options=Options(True, ("word-options",), "word-options"),
    started=TIME,
    pid=471148,
    reported_before=987654321.5,
    command="word-command",
    settings={"vardir": "word-settings"},
    report="word-report",
    keep_runs=7654321,
    keep_bytes=8765432,
    ended=TIME,
    duration_s=2.5,
    exit_status="word-exit_status",
    verdict="failed",
    reason="word-reason",
    error="word-error",
    unreported=True,
    noop=True,
    noop_pending=True,
    environment="word-environment",
    cached_catalog_status="word-cached_catalog_status",
    counts={"changed": 3},
    would_change=2,
    failed_resources=("word-failed_resources",),
    left_running=(Left("word-left_running", 1, 1),),
    cancelled=Cancelled("word-cancelled", 1.0),
    label="word-label",
    started_by="puppet",
    configuration_version="word-configuration_version",
    transaction_uuid="word-transaction_uuid",
    puppet_version="word-puppet_version",
    server_used="word-server_used",
    corrective_change=True,
    events={"success": 3},
    phases_s={"plugin_sync": 1.5},
    resources=(
        Resource(
            "word-resources",
            "failed",
            corrective=True,
            file="word-resources",
            line=7,
            events=(Event("mode", "failure", "word-message"),),
        ),
    ),
    resources_left_out=1234567,
)
FULL_LAST = LastRun(
    verdict="changed",
    ended=TIME,
    duration_s=2.5,
    counts={"word-last": 3},
    environment="word-last",
    reason="word-last",
    cached_catalog_status="word-last",
    noop=True,
    noop_pending=True,
    would_change=2,
    unreported=True,
)
FULL_STATUS = NodeStatus(
    state="running",
    run="word-run",
    queued="word-queued",
    since=1000000000.0,
    reason="word-reason",
    pid=471147,
    unit="word-unit",
    age_s=123456,
    last=FULL_LAST,
    last_whole=FULL_LAST._replace(
        environment="word-whole", counts={}, cached_catalog_status="x", reason="word-whole"
    ),
    failing_since=1100000000.0,
    unrecorded="word-unrecorded",
    unrecorded_why="word-why",
    phase="applying",
    resources=574,
    elapsed_s=60,
    usual_s=35,
    doing=Doing("word-doing", 45),
    disabled=Disabled(
        "word-by", "word-reason", TIME, None, (Hold("word-by", "word-address", "word-reason", TIME, TIME),)
    ),
)
DISABLED_WORDS = {"by": "word-by", "holds": "word-address", "reason": "word-reason"}
RUN_WORDS = {
    **{name: f"word-{name}" for name in views.RUN if f"word-{name}" in json.dumps(FULL_RECORD.to_json())},
    "reported_before": "987654321",
    "resources_left_out": "1234567",
    "keep_runs": "7654321",
    "keep_bytes": "8765432",
    "pid": "471148",
}
STATUS_WORDS = {
    **{name: f"word-{name}" for name in ("run", "queued", "reason", "unit", "last")},
    **{"failing_since": "2004-11-09", "since": "2001-09-09", "pid": "471147", "age_s": "123456"},
    **{"last_whole": "word-whole", "unrecorded": "word-unrecorded", "unrecorded_why": "word-why"},
    "doing": "word-doing",
}


def test_every_private_field_has_a_word() -> None:
    private = {name for name, audience in views.RUN.items() if audience != EVERYONE}
    assert set(RUN_WORDS) == private - {"noop_pending", "corrective_change"}  # which are true or false
    assert set(STATUS_WORDS) == {name for name, audience in views.STATUS.items() if audience != EVERYONE}
    assert all(value is not None for value in (*FULL_RECORD, *FULL_STATUS, *FULL_LAST))


def fields_in(words: dict[str, str], answer: str) -> set[str]:
    """Return the fields whose word is in an answer."""
    return {name for name, word in words.items() if word in answer}


# ---- fields and texts


@callers
def test_fields_of_a_run(grants: tuple[str, ...], named: bool, audiences: set[str]) -> None:
    fields = views.run_fields(FULL_RECORD, caller(grants, named))
    assert set(fields) == visible(views.RUN, audiences)
    assert fields_in(RUN_WORDS, json.dumps(fields)) == set(fields) & set(RUN_WORDS)
    # The message of an event is Puppet's own text, such as the error.
    assert ("word-message" in json.dumps(fields)) == (LOGS in audiences)


@callers
def test_text_of_a_run(grants: tuple[str, ...], named: bool, audiences: set[str]) -> None:
    text = run_wording.run_text(FULL_RECORD, caller(grants, named))
    # Of a run that Puppet has started, the text names no caller.
    shown = {"reason", "error", "environment", "resources", "resources_left_out"}
    assert fields_in(RUN_WORDS, text) == shown & visible(views.RUN, audiences)
    assert ("word-message" in text) == (LOGS in audiences)
    assert ("Puppet itself" in text) == (NAMED in audiences)
    ours = FULL_RECORD._replace(started_by="twitch")
    text = run_wording.run_text(ours, caller(grants, named))
    assert fields_in(RUN_WORDS, text) == (shown | {"caller", "client", "label"}) & visible(
        views.RUN, audiences
    )
    table = wording.runs_text([ours, ours], caller(grants, named))
    shown = {"caller", "client", "label", "reason", "error"}
    assert fields_in(RUN_WORDS, table) == shown & visible(views.RUN, audiences)


@callers
def test_fields_of_the_holds(grants: tuple[str, ...], named: bool, audiences: set[str]) -> None:
    fields = views.status_fields(FULL_STATUS, caller(grants, named))["disabled"]
    assert set(fields) == visible(views.DISABLED, audiences)
    assert fields_in(DISABLED_WORDS, json.dumps(fields)) == set(fields) & set(DISABLED_WORDS)
    assert (fields["since"], fields["until"]) == ("2026-01-22T09:05:00Z", None)


@callers
def test_fields_of_a_status(grants: tuple[str, ...], named: bool, audiences: set[str]) -> None:
    fields = views.status_fields(FULL_STATUS, caller(grants, named))
    assert set(fields) == visible(views.STATUS, audiences)
    assert fields_in(STATUS_WORDS, json.dumps(fields)) == set(fields) & set(STATUS_WORDS)


ALWAYS_IN_TEXT = {"queued", "failing_since", "last", "last_whole", "unrecorded", "unrecorded_why"}
IN_TEXT = {
    "idle": {"run", "pid", "since", "doing"} | ALWAYS_IN_TEXT,
    "running": {"run", "pid", "since", "doing"} | ALWAYS_IN_TEXT,
    "queued": {"run", "pid", "since", "doing"} | ALWAYS_IN_TEXT,
    "disabled": {"reason", "run", "pid", "since", "doing"} | ALWAYS_IN_TEXT,
    "stuck": {"run", "pid", "since", "doing", "unit"} | ALWAYS_IN_TEXT,
}


@callers
@pytest.mark.parametrize("state", NODE_STATES)
def test_text_of_a_status(grants: tuple[str, ...], named: bool, audiences: set[str], state: str) -> None:
    text = wording.status_text(FULL_STATUS._replace(state=state), caller(grants, named))
    assert text.startswith(state)
    assert fields_in(STATUS_WORDS, text) == IN_TEXT[state] & visible(views.STATUS, audiences)


@callers
def test_pid_of_a_foreign_run_in_the_text_of_a_status(
    grants: tuple[str, ...], named: bool, audiences: set[str]
) -> None:
    text = wording.status_text(FULL_STATUS._replace(run=None), caller(grants, named))
    assert ("pid 471147" in text) is (NAMED in audiences)


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({}, []),
        ({"phase": "starting", "elapsed_s": 3}, ["starting"]),
        ({"phase": "applying", "resources": 0}, ["applying"]),
        ({"phase": "applying", "resources": 1}, ["applying 1 resource"]),
        (
            {"phase": "applying", "resources": 574, "doing": Doing("apt-get", 45), "usual_s": 35},
            ["applying 574 resources", "apt-get for 45s", "usually 35s"],
        ),
        ({"doing": Doing("sleep", 125)}, ["sleep for 2m 5s"]),
    ],
    ids=["nothing-known", "phase", "no-resources", "one-resource", "everything", "puppet-apply"],
)
def test_progress_in_words(fields: dict[str, Any], texts: list[str]) -> None:
    status = NodeStatus(RUNNING, **fields)
    assert wording.progress(status, caller((), named=True)) == texts
    without = wording.progress(status._replace(doing=None), caller((), named=True))
    assert wording.progress(status, caller(("logs",), named=False)) == without


# ---- errors


@callers
def test_reason_in_an_error(grants: tuple[str, ...], named: bool, audiences: set[str]) -> None:
    one = caller(grants, named)
    if REASONS in audiences:
        assert views.why("It failed", "word", one) == "It failed: word"
        assert views.disabled("word", one) == "Puppet disabled: word"
        assert views.disabled("", one) == "Puppet disabled: no reason given"
    else:
        assert views.why("It failed", "word", one) == "It failed; the journal of the node says why"
        assert views.disabled("word", one) == views.disabled("", one) == "Puppet disabled"


@callers
@pytest.mark.parametrize("verdict", VERDICTS)
def test_failure_of_a_run(grants: tuple[str, ...], named: bool, audiences: set[str], verdict: str) -> None:
    record, one = FULL_RECORD._replace(verdict=verdict), caller(grants, named)
    text = views.failure(record, one, waited=True)
    # Every caller that has waited sees which resources failed, but not why a run was not attempted.
    reason = {"reason"} if verdict != "not attempted" or REASONS in audiences else set()
    assert fields_in(RUN_WORDS, text) == reason | ({"error"} if LOGS in audiences else set())
    assert text.startswith(f"Puppet run failed: {'word-reason' if verdict == 'failed' else verdict}")
    text = views.failure(record, one, waited=False)
    assert fields_in(RUN_WORDS, text) == {"reason", "error"} & visible(views.RUN, audiences)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("Puppet was told to stop; still running: backup (pid 7, 3s)", "Puppet was told to stop"),
        ("still running: backup (pid 7, 3s)", "no reason is known"),
    ],
)
def test_processes_of_the_node_are_not_for_anonymous_callers(reason: str, shown: str) -> None:
    left = (Left("backup", 7, 3),)
    record = FULL_RECORD._replace(verdict="interrupted", reason=reason, left_running=left)
    text = views.failure(record, caller((), False), waited=True)
    assert text.startswith(f"Puppet run failed: interrupted: {shown}; journalctl ")
    assert reason in views.failure(record, caller(("status",), True), waited=True)


def test_failure_names_the_command_that_shows_the_log() -> None:
    text = views.failure(FULL_RECORD, caller((), False), waited=True)
    assert text == f"Puppet run failed: word-reason; journalctl _SYSTEMD_INVOCATION_ID={RUN}"
    not_attempted = FULL_RECORD._replace(verdict="not attempted")
    text = views.failure(not_attempted, caller((), False), waited=True)
    assert text == f"Puppet run failed: not attempted; journalctl _SYSTEMD_INVOCATION_ID={RUN}"


# ---- every path, for an anonymous caller

TARGETS = {
    r"/puppet/twitch": ("/puppet/twitch", "/puppet/twitch?async=false", "/puppet/twitch?queue"),
    r"/puppet/status": ("/puppet/status", "/puppet/status?max_age=1s"),
    r"/puppet/runs": ("/puppet/runs",),
    r"/puppet/runs/(?P<run>[^/]*)/log": (f"/puppet/runs/{RUN}/log",),
    r"/puppet/runs/(?P<run>[^/]*)/cancel": (f"/puppet/runs/{RUN}/cancel", "/puppet/runs/current/cancel"),
    r"/puppet/runs/(?P<run>.*)": (f"/puppet/runs/{RUN}", f"/puppet/runs/{RUN}?wait=1"),
    r"/metrics": ("/metrics",),
    r"/puppet/disable": ("/puppet/disable?reason=x",),
    r"/puppet/enable": ("/puppet/enable",),
    r"/version": ("/version",),
    r"/info": ("/info",),
}
RUN_ANSWERS = [
    *(Answer(kind, run=RUN) for kind in (STARTED, QUEUED, BUSY, FULL)),
    Answer(BUSY, run=RUN, status=FULL_STATUS),
    Answer(BUSY, status=FULL_STATUS),
    *(Answer(kind, reason="word-reason") for kind in (DISABLED, CANNOT, MISCONFIGURED, INVALID)),
    Answer(COOLDOWN, retry_after_s=9),
]
CANCEL_ANSWERS = [
    *(Answer(kind, run=RUN) for kind in (CANCELLED, ENDED)),
    *(Answer(kind, status=FULL_STATUS) for kind in (CANCELLED, FOREIGN)),
    Answer(NO_RUN),
    *(Answer(kind, reason="word-reason") for kind in (CANNOT, MISCONFIGURED, INVALID)),
]
STATUS_ANSWERS = [
    *(Answer(STATUS, status=FULL_STATUS._replace(state=state)) for state in NODE_STATES),
    *(Answer(kind, reason="word-reason") for kind in (CANNOT, MISCONFIGURED, INVALID)),
]


HOLDS = FULL_STATUS._replace(state="disabled", run=RUN)
DISABLING_ANSWERS = [
    *(Answer(kind, reason="word-reason", status=HOLDS) for kind in (DISABLED, HELD)),
    Answer(DISABLED, reason="word-reason", status=HOLDS._replace(run=None, pid=None)),
    *(Answer(kind, reason="word-reason") for kind in (CANNOT, MISCONFIGURED)),
    Answer(ENABLED),
]


def answers_to(target: str) -> list[Answer]:
    """Return what root can answer to the question behind a path."""
    for word, answers in (
        ("/cancel", CANCEL_ANSWERS),
        ("able", DISABLING_ANSWERS),
        ("status", STATUS_ANSWERS),
    ):
        if word in target:
            return answers
    return RUN_ANSWERS


SHOWN_TO_WAITERS = ("failed", "interrupted")


def test_every_answer_is_tried() -> None:
    # METRICS has no field that some callers may see and others not.
    tried = RUN_ANSWERS + CANCEL_ANSWERS + STATUS_ANSWERS + DISABLING_ANSWERS
    assert {METRICS, *(answer.kind for answer in tried)} == set(ANSWERS)


def test_every_path_is_tried() -> None:
    assert set(TARGETS) == {route.path for route in routes.ROUTES}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("target", [target for targets in TARGETS.values() for target in targets])
async def test_anonymous_caller_sees_no_private_word(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch, target: str, verdict: str
) -> None:
    monkeypatch.setattr(root_client, "REMEMBER_S", 0)
    api.allow("anonymous = trigger status cancel disable")
    api.store.write(FULL_RECORD._replace(verdict=verdict))
    posted = target.endswith("/cancel") or "able" in target
    for answer in answers_to(target):
        api.root.answer_to = lambda question, answer=answer: answer  # type: ignore[misc]
        # The one exception: a caller that has waited for a run sees why it failed (`views.failure`).
        failed = "twitch" in target and answer.kind in (STARTED, QUEUED) and verdict in SHOWN_TO_WAITERS
        for accept in ("*/*", "application/json"):
            reply = await api.ask("POST" if posted else "GET", target, f"Accept: {accept}")
            words = fields_in({**STATUS_WORDS, **RUN_WORDS}, reply.text + json.dumps(reply.headers))
            assert words == ({"reason"} if failed else set())


# ---- values


def test_times_are_in_utc() -> None:
    assert views.iso(0) == views.iso(None) == "1970-01-01T00:00:00Z"
    assert views.iso(1769072700.0) == "2026-01-22T09:05:00Z"


def test_person_at_the_node_reads_its_time_and_how_long_ago_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-5:45")
    time.tzset()
    try:
        monkeypatch.setattr(time, "time", lambda: 1769072700.0 + 725)
        local = Caller("user:alice", LOCAL, frozenset(), named=True)
        assert views.when(1769072700.0, local) == "2026-01-22 14:50:00 (12 min ago)"
        assert views.when(1769072700.0, caller((), True)) == "2026-01-22T09:05:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
