# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The words of the command puppet-twitch-fleet, and its result file."""

from __future__ import annotations

import json

import pytest
from ansible_collections.puppet_twitch.node.plugins.module_utils import _fleet
from ansible_collections.puppet_twitch.node.plugins.modules import fleet

PLAN = {"line": "plan", "time": 1.0, "nodes": ["a", "b", "c"], "version": 1}
SUMMARY = {"line": "summary", "time": 9.0, "failed_new": 1, "failed_before": 0, "fixed": 2, "exit": 2}


def text(*lines):
    return [json.dumps(line) + "\n" for line in lines]


def node(name, outcome=None, **fields):
    event = {"line": "node", "time": 2.0, "node": name, "event": "ended" if outcome else "running", **fields}
    return {**event, "outcome": outcome} if outcome else event


def test_command_has_the_options_of_the_task():
    options = {
        "targets": ["a", "b"],
        "tags": ["ntp", "ssh"],
        "exclude": ["c", "d"],
        "noop": True,
        "queue": False,
        "tls": False,
        "at_once": "10%",
        "limit": None,
        "puppetserver": [],
        "count_old_failures": False,
    }
    words = _fleet.command("/bin/fleet", options, "/tmp/result")
    assert words[:2] == ["/bin/fleet", "run"]
    assert set(words[2:]) == {
        "--yes",
        "--quiet",
        "--json=/tmp/result",
        "--at-once=10%",
        "--tags=ntp,ssh",
        "--exclude=c",
        "--exclude=d",
        "--noop",
        "--no-queue",
        "--plain-http",
        "--nodes=-",
    }
    assert _fleet.standard_input(options) == "a\nb\n"


def test_only_options_that_are_set_are_passed():
    """Others are those of the command, or with --from those of the earlier run."""
    options = {name: argument.get("default") for name, argument in fleet.ARGUMENTS.items()}
    words = _fleet.command("/bin/fleet", {**options, "from_result": "/tmp/earlier"}, "/tmp/result")
    assert words[2:] == ["--yes", "--quiet", "--json=/tmp/result", "--from=/tmp/earlier"]


def test_a_query_needs_no_standard_input():
    assert "--query=nodes[certname] { }" in _fleet.command("x", {"query": "nodes[certname] { }"}, "y")
    assert _fleet.standard_input({"query": "nodes[certname] { }"}) is None


def test_the_last_outcome_of_a_node_counts():
    lines = text(
        PLAN,
        node("a"),
        node("a", "changed"),
        node("a", "unproven", error="no report"),
        node("b", "unproven", error="no report"),
        node("b", "changed"),
        SUMMARY,
    )
    result = _fleet.result(lines)
    assert result["nodes"] == 3
    assert result["counts"] == {"unproven": 1, "changed": 1, "not started": 1}
    assert result["groups"] == {"unproven": ["a"], "changed": ["b"], "not started": ["c"]}
    assert result["remaining"] == ["c", "a"]
    assert result["errors"] == {"a": "no report"}
    assert (result["failed_new"], result["fixed"], result["stopped"]) == (1, 2, None)
    assert result["changed"]


def test_a_result_that_was_cut_says_what_it_has():
    lines = [*text(PLAN, node("a", "unchanged")), '{"line": "node", "no']
    result = _fleet.result(lines)
    assert result["counts"] == {"unchanged": 1, "not started": 2}
    assert not result["changed"]


@pytest.mark.parametrize("line", ["no JSON\n", "{}\n"])
def test_another_file_is_no_result(line):
    with pytest.raises((ValueError, KeyError)):
        _fleet.result([line])


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (2, ["failed", "1 changed, 2 failed"]),
        (12, ["unreachable", "stopped early", "2 failed"]),
        (16, ["not known"]),
        (130, ["exit status 130"]),
    ],
)
def test_failure_says_what_the_bits_of_the_status_mean(status, words):
    failure = _fleet.failure(status, {"counts": {"changed": 1, "failed": 2}})
    assert all(word in failure for word in words)
    assert _fleet.failure(0, {}) == ""
    assert _fleet.failure(-9, {"counts": {"failed": 1}}) == "exit status -9: 1 failed"  # killed
