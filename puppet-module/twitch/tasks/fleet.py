#!/usr/bin/env python3
# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The Bolt task twitch::fleet: puppet-twitch-fleet, once, on the machine that is its target."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

# Where Bolt has put the files of the metadata, or where they are in the module.
MODULE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(MODULE, "files"))

from bolt_tasks import _fleet, task  # noqa: E402

COMMAND = "puppet-twitch-fleet"


def fleet(parameters: dict[str, Any]) -> dict[str, Any]:
    """Run Puppet on many nodes, and return the numbers and the names; raises TaskError."""
    options = {**parameters, "noop": bool(parameters.get("noop") or parameters.get("_noop"))}
    if sum(bool(options.get(name)) for name in ("targets", "query", "from_result")) != 1:
        raise task.TaskError("invalid", "Exactly one of query, targets and from_result has to be set.")
    executable = shutil.which(options.get("executable") or COMMAND)
    if not executable:
        text = f"{options.get('executable') or COMMAND} is not installed on the target of this task."
        raise task.TaskError("invalid", f"{text} Install the package {COMMAND}, or set executable.")
    with tempfile.TemporaryDirectory() as directory:
        result_file = options.get("result_file") or os.path.join(directory, "result.jsonl")
        done = subprocess.run(
            _fleet.command(executable, options, result_file),
            input=_fleet.standard_input(options) or "",
            capture_output=True,
            text=True,
        )
        return _result(done, result_file)


def _result(done: subprocess.CompletedProcess[str], result_file: str) -> dict[str, Any]:
    """Return the result of the command; raises TaskError unless its exit status is 0."""
    status = {"exit_status": done.returncode}
    if done.returncode == _fleet.NOTHING_STARTED or not os.path.exists(result_file):
        text = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
        raise task.TaskError("not-started", f"Nothing was started: {text}", status)
    try:
        with open(result_file, encoding="utf-8") as lines:
            result = {**status, **_fleet.result(lines)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"{result_file} is not a result of {COMMAND}: {error}"
        raise task.TaskError("invalid", text, status) from error
    failure = _fleet.failure(done.returncode, result)
    if failure:
        raise task.TaskError("fleet", failure, result)
    return {**result, "_output": done.stdout.strip()}


if __name__ == "__main__":
    sys.exit(task.main(fleet))
