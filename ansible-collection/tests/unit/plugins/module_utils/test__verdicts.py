# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""What a record means for a task."""

from __future__ import annotations

import pytest
from ansible_collections.puppet_twitch.node.plugins.module_utils import _verdicts
from ansible_collections.puppet_twitch.node.plugins.module_utils._answers import Answer


@pytest.mark.parametrize(
    ("record", "outcome", "changed"),
    [
        ({"verdict": "unchanged", "noop": False}, "unchanged", False),
        ({"verdict": "changed", "noop": False}, "changed", True),
        ({"verdict": "unchanged", "noop": True}, "unchanged", False),
        ({"verdict": "unchanged", "noop": True, "would_change": 2}, "pending", True),
        ({"verdict": "unchanged", "noop": True, "noop_pending": True}, "pending", True),
        # Resources with `noop => false` are applied in a noop run.
        ({"verdict": "changed", "noop": True, "would_change": 2}, "changed", True),
        # Resources with `noop => true` are not applied in another run.
        ({"verdict": "unchanged", "noop": False, "would_change": 2}, "unchanged", False),
        ({"verdict": "failed", "noop": True, "would_change": 2}, "failed", False),
    ],
)
def test_outcome_and_changed(record, outcome, changed):
    result = _verdicts.result(Answer(200, record, {}))
    assert (result["outcome"], result["changed"]) == (outcome, changed)


def test_result_has_the_fields_that_the_caller_may_see():
    record = {"run": "1", "verdict": "changed", "noop": False, "counts": {"changed": 3}, "duration_s": 2.5}
    result = _verdicts.result(
        Answer(200, {**record, "message": "Puppet run complete", "state": "finished"}, {})
    )
    assert result == {
        "run": "1",
        "verdict": "changed",
        "outcome": "changed",
        "changed": True,
        "noop": False,
        "reported": True,
        "counts": {"changed": 3},
        "duration": 2.5,
    }


def test_a_run_without_a_report_is_unreported():
    assert not _verdicts.result(Answer(200, {"verdict": "changed", "unreported": True}, {}))["reported"]


def test_lines_name_resource_property_place_and_message():
    event = {"property": "content", "status": "noop", "message": "content changed"}
    resource = {"resource": "File[/x]", "outcome": "would change", "file": "/site.pp", "line": 3}
    assert _verdicts.lines({"resources": [{**resource, "events": [event]}]}) == [
        "would change File[/x] content (/site.pp:3): content changed"
    ]
    assert _verdicts.lines({"resources": [{"resource": "Exec[x]", "outcome": "skipped"}]}) == [
        "skipped Exec[x]"
    ]
    assert _verdicts.lines({}) == []


def test_lines_are_not_endless():
    many = [{"resource": f"File[/{number}]", "outcome": "changed"} for number in range(200)]
    lines = _verdicts.lines({"resources": many})
    assert lines[-1] == "150 more"
    assert len(lines) == 51
