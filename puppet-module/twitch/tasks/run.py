#!/usr/bin/env python3
# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The Bolt task twitch::run: Bolt runs it on its own machine, once for each target."""

from __future__ import annotations

import os
import sys
from typing import Any

# Where Bolt has put the files of the metadata, or where they are in the module.
MODULE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(MODULE, "files"))

from bolt_tasks import _access, _http, _runs, _verdicts, task  # noqa: E402

CONNECTION = (
    "token",
    "token_file",
    "client_cert",
    "client_key",
    "ca_path",
    "tls",
    "port",
)


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    """Run Puppet on the target, and return what has become of the run; raises TaskError."""
    try:
        access = _access.access(_connection(parameters))
    except _access.InvalidOption as error:
        raise task.TaskError("invalid", str(error)) from error
    wait_s = parameters.get("wait", 3600)
    clock, send = _runs.Clock(wait_s), _http.sender(access)
    try:
        run_id = parameters.get("run") or _runs.start(send, _ask(parameters), clock)
        if not wait_s and not parameters.get("run"):
            return {"outcome": "running", "run": run_id, "_output": f"run {run_id} was started"}
        answer = _runs.follow(send, run_id, clock)
    except _runs.Stopped as stopped:
        return _without_verdict(stopped, parameters)
    result = _verdicts.result(answer)
    if result["verdict"] not in _verdicts.GOOD:
        raise task.TaskError(result["verdict"], answer.text, result)
    changes = _verdicts.lines(answer.fields)
    result["_output"] = "\n".join((f"{result['outcome']}: run {run_id}", *changes))
    return result


def _connection(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return how to reach the target: the parameters, or else the options of the target in the inventory."""
    target = parameters.get("_target") or {}
    values = {name: target.get(name.replace("_", "-"), target.get(name)) for name in CONNECTION}
    values.update({name: parameters[name] for name in CONNECTION if parameters.get(name) is not None})
    name, host = target.get("name"), target.get("host")
    if not name:
        raise task.TaskError(
            "invalid", "The task has no target: its target needs `transport: remote` in the inventory."
        )
    if "://" in name:  # the target is a URI without a name
        name = host
    return {
        **values,
        "host": name,
        "address": host if host != name else None,
        "port": int(values["port"] or 2023),
        "use_proxy": False,
    }


def _ask(parameters: dict[str, Any]) -> _runs.Ask:
    return _runs.Ask(
        noop=bool(parameters.get("noop") or parameters.get("_noop")),
        queue=parameters.get("queue", True),
        tags=tuple(parameters.get("tags") or ()),
        environment=parameters.get("environment"),
        label=parameters.get("label"),
    )


def _without_verdict(stopped: _runs.Stopped, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a run that was not started or has no verdict, if it is good; raises TaskError."""
    result = {"outcome": stopped.outcome, **({"run": stopped.run} if stopped.run else {})}
    if stopped.outcome == "disabled" and stopped.answer:
        result.update(_verdicts.disabled(stopped.answer.fields))
        if parameters.get("disabled", "ok") == "ok":
            return {**result, "_output": str(stopped)}
    raise task.TaskError(stopped.outcome, str(stopped), result)


if __name__ == "__main__":
    sys.exit(task.main(run))
