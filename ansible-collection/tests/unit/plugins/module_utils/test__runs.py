# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""A run is started at most once, and followed to its verdict: by the answers of a node."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from ansible_collections.puppet_twitch.node.plugins.module_utils import _runs
from ansible_collections.puppet_twitch.node.plugins.module_utils._answers import Answer, NotReached

RUN = "1" * 32
NOW = 1769072700.0
STARTED = Answer(202, {"message": "Triggered puppet run", "run": RUN}, {"puppet-run": RUN})
GOES_ON = Answer(202, {"message": "running", "state": "running"}, {"puppet-run": RUN})
ENDED = Answer(200, {"run": RUN, "verdict": "changed"}, {"puppet-run": RUN})
BROKEN = NotReached("node1 has closed the connection", sent=True)
REFUSED = NotReached("no connection to node1", sent=False)


def busy(status=409, retry_after="30"):
    return Answer(status, {"detail": "Puppet already running"}, {"retry-after": retry_after})


def asked(ago_s):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - ago_s))


def list_of(*runs):
    return Answer(200, {"runs": list(runs)}, {"date": formatdate(NOW, usegmt=True)})


class Node:
    """Answers one request after the other; each takes as long as it waits."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.time = 0.0
        self.slept = []

    def send(self, method, path, parameters, wait_s):
        self.requests.append((method, path, dict(parameters)))
        answer = self.answers.pop(0)
        if isinstance(answer, NotReached):
            raise answer
        if answer.status == 202 and method == "GET":
            self.time += wait_s
        return answer

    def clock(self, wait_s=3600):
        return _runs.Clock(wait_s, now=lambda: self.time, sleep=self.sleep)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds

    def triggers(self):
        return [parameters for method, path, parameters in self.requests if path == "/puppet/twitch"]


def test_a_run_has_the_options_of_the_task():
    node = Node(STARTED)
    ask = _runs.Ask(noop=True, queue=True, tags=("ntp", "ssh"), environment="test", label="CHG-1")
    assert _runs.start(node.send, ask, node.clock()) == RUN
    options = {"label": "CHG-1", "queue": "true", "noop": "true", "tags": "ntp,ssh", "environment": "test"}
    assert node.requests == [("POST", "/puppet/twitch", options)]


def test_a_run_without_a_label_gets_one():
    node = Node(STARTED, STARTED)
    _runs.start(node.send, _runs.Ask(), node.clock())
    _runs.start(node.send, _runs.Ask(), node.clock())
    labels = {parameters["label"] for parameters in node.triggers()}
    assert len(labels) == 2
    assert all(label.startswith("run-") for label in labels)


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, "changed"), (500, "failed"), (500, None), (409, "busy")]
)
def test_a_run_can_have_ended_before_the_first_answer(status, verdict):
    node = Node(Answer(status, {"run": RUN, "verdict": verdict}, {"puppet-run": RUN}))
    assert _runs.start(node.send, _runs.Ask(), node.clock()) == RUN


def test_the_run_of_another_caller_is_not_the_run_of_the_task():
    node = Node(Answer(409, {"run": RUN, "detail": "Puppet already running"}, {"puppet-run": RUN}))
    with pytest.raises(_runs.Stopped) as stopped:
        _runs.start(node.send, _runs.Ask(queue=False), node.clock())
    assert (stopped.value.outcome, stopped.value.run) == ("busy", None)


@pytest.mark.parametrize("status", [429, 503])
def test_a_node_is_asked_again_when_it_says_so(status):
    node = Node(busy(status, "7"), busy(status, "3600"), STARTED)
    assert _runs.start(node.send, _runs.Ask(), node.clock()) == RUN
    assert node.slept == [7, _runs.MAX_RETRY_AFTER_S]


@pytest.mark.parametrize("status", [429, 503])
def test_a_node_is_not_asked_again_for_ever(status):
    node = Node(*[busy(status)] * 10)
    with pytest.raises(_runs.Stopped):
        _runs.start(node.send, _runs.Ask(), node.clock())
    assert len(node.triggers()) == 1 + _runs.RETRIES


def test_a_node_with_an_invalid_file_is_asked_once():
    node = Node(Answer(503, {"detail": "puppet-twitch.conf is invalid"}, {}))
    with pytest.raises(_runs.Stopped, match=r"puppet-twitch.conf is invalid") as stopped:
        _runs.start(node.send, _runs.Ask(), node.clock())
    assert stopped.value.outcome == "not attempted"


def test_with_queue_a_task_waits_for_the_place_in_the_queue():
    node = Node(*[busy()] * 20, STARTED)
    assert _runs.start(node.send, _runs.Ask(queue=True), node.clock()) == RUN


def test_with_queue_a_task_waits_no_longer_than_it_may():
    node = Node(*[busy()] * 20)
    with pytest.raises(_runs.Stopped) as stopped:
        _runs.start(node.send, _runs.Ask(queue=True), node.clock(100))
    assert stopped.value.outcome == "busy"
    assert sum(node.slept) == 100


def test_without_queue_a_busy_node_is_asked_once():
    node = Node(busy())
    with pytest.raises(_runs.Stopped, match="Puppet already running") as stopped:
        _runs.start(node.send, _runs.Ask(queue=False), node.clock())
    assert stopped.value.outcome == "busy"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(423, "disabled"), (401, "refused"), (403, "refused"), (400, "refused"), (500, "not attempted")],
)
def test_an_answer_without_a_run_says_why(status, outcome):
    node = Node(Answer(status, {"detail": "the text of the node"}, {}))
    with pytest.raises(_runs.Stopped, match="the text of the node") as stopped:
        _runs.start(node.send, _runs.Ask(), node.clock())
    assert stopped.value.outcome == outcome
    assert stopped.value.run is None


def test_a_request_that_was_not_sent_is_unreachable():
    node = Node(REFUSED)
    with pytest.raises(_runs.Stopped) as stopped:
        _runs.start(node.send, _runs.Ask(), node.clock())
    assert stopped.value.outcome == "unreachable"
    assert len(node.requests) == 1


# ---- the connection breaks after the request was sent


def test_after_a_break_the_run_is_found_by_its_label():
    node = Node(BROKEN, REFUSED, busy(503, "2"), None)

    def send(method, path, parameters, wait_s):
        if len(node.requests) == 3:
            label = node.triggers()[0]["label"]
            node.answers = [list_of({"run": "2" * 32, "label": "other"}, {"run": RUN, "label": label})]
        return node.send(method, path, parameters, wait_s)

    assert _runs.start(send, _runs.Ask(), node.clock()) == RUN
    assert len(node.triggers()) == 1


def test_a_label_of_the_operator_is_that_of_this_request_only_if_it_was_asked_for_since():
    old = {"run": "2" * 32, "label": "CHG-1", "asked": asked(3)}
    mine = {"run": RUN, "label": "CHG-1", "asked": asked(1)}
    ask = _runs.Ask(label="CHG-1")
    node = Node(BROKEN, list_of(old, mine))
    assert _runs.start(node.send, ask, node.clock()) == RUN
    node = Node(BROKEN, list_of(old))
    with pytest.raises(_runs.Stopped) as stopped:
        _runs.start(node.send, ask, node.clock())
    assert stopped.value.outcome == "lost"


@pytest.mark.parametrize(
    "answer",
    [
        list_of(),
        list_of({"run": RUN}),  # an anonymous caller sees no labels
        Answer(403, {"detail": "no grant status"}, {}),
    ],
)
def test_after_a_break_a_run_that_is_not_found_is_not_asked_for_again(answer):
    node = Node(BROKEN, answer)
    with pytest.raises(_runs.Stopped, match="not known whether a run was started") as stopped:
        _runs.start(node.send, _runs.Ask(), node.clock())
    assert stopped.value.outcome == "lost"
    assert len(node.triggers()) == 1


def test_after_a_break_a_node_that_stays_away_is_lost():
    node = Node(BROKEN, *[REFUSED] * 100)
    with pytest.raises(_runs.Stopped) as stopped:
        _runs.start(node.send, _runs.Ask(), node.clock())
    assert stopped.value.outcome == "lost"
    assert node.time == _runs.LOST_AFTER_S


# ---- following


def test_a_run_is_followed_to_its_verdict():
    node = Node(GOES_ON, busy(503, "2"), BROKEN, ENDED)
    assert _runs.follow(node.send, RUN, node.clock()) == ENDED
    assert node.requests[0] == ("GET", f"/puppet/runs/{RUN}", {"wait": "60"})


def test_a_run_that_outlasts_the_time_to_wait_is_late():
    node = Node(GOES_ON, GOES_ON, GOES_ON)
    with pytest.raises(_runs.Stopped, match=f"run {RUN} has not ended .* goes on") as stopped:
        _runs.follow(node.send, RUN, node.clock(90))
    assert (stopped.value.outcome, stopped.value.run) == ("late", RUN)
    assert [request[2]["wait"] for request in node.requests] == ["60", "30"]


def test_a_run_in_the_queue_is_late_in_the_queue():
    node = Node(Answer(202, {"state": "queued"}, {}))
    with pytest.raises(_runs.Stopped, match="waits in the queue"):
        _runs.follow(node.send, RUN, node.clock(0))


def test_a_node_that_goes_away_during_the_run_is_lost():
    node = Node(GOES_ON, *[REFUSED] * 100)
    with pytest.raises(_runs.Stopped, match="was started") as stopped:
        _runs.follow(node.send, RUN, node.clock())
    assert (stopped.value.outcome, stopped.value.run) == ("lost", RUN)
    assert node.time == _runs.POLL_S + _runs.LOST_AFTER_S


@pytest.mark.parametrize(
    ("status", "outcome"), [(404, "lost"), (403, "refused"), (401, "refused"), (500, "unproven")]
)
def test_a_run_that_cannot_be_followed_is_named(status, outcome):
    node = Node(Answer(status, {"detail": "why"}, {}))
    with pytest.raises(_runs.Stopped) as stopped:
        _runs.follow(node.send, RUN, node.clock())
    assert (stopped.value.outcome, stopped.value.run) == (outcome, RUN)


@pytest.mark.parametrize("verdict", ["failed", "busy", "interrupted", "not attempted"])
def test_a_verdict_is_an_end_whatever_the_status_is(verdict):
    answer = Answer(409 if verdict == "busy" else 500, {"verdict": verdict}, {})
    node = Node(answer)
    assert _runs.follow(node.send, RUN, node.clock()) == answer
