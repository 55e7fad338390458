# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The command puppet-twitch-fleet: its words for the options of a task, and its result.

This file is private. The Ansible collection and the Bolt tasks of the Puppet module have the same copy.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Optional

# The bits of the exit status, as in puppet-twitch-fleet(1), and what they say.
NOTHING_STARTED = 1
BITS = {
    2: "more nodes failed than max_failures allows",
    4: "more nodes were unreachable than max_unreachable allows",
    8: "stopped early",
    16: "it is not known of every node how its run has ended (unproven, late or lost)",
}

# option -> the option of the command that takes its value
VALUES = {
    "query": "--query",
    "from_result": "--from",
    "limit": "--limit",
    "address_fact": "--address-fact",
    "environment": "--environment",
    "label": "--label",
    "at_once": "--at-once",
    "one_per": "--one-per",
    "canary": "--canary",
    "max_failures": "--max-failures",
    "max_unreachable": "--max-unreachable",
    "timeout": "--timeout",
    "until": "--until",
    "junit": "--junit",
    "html": "--html",
    "client_cert": "--cert",
    "client_key": "--key",
    "ca_path": "--ca",
    "token_file": "--token-file",
    "port": "--port",
    "puppetdb": "--puppetdb",
}
LISTS = {"tags": "--tags", "only": "--only"}  # with commas between the values
REPEATED = {"exclude": "--exclude", "puppetserver": "--puppetserver"}
FLAGS = {
    "noop": "--noop",
    "count_old_failures": "--count-old-failures",
    "stop_on_surprise": "--stop-on-surprise",
}

REMAINING = ("not started", "late", "lost", "unproven")
MAX_ERRORS = 100


def command(executable: str, options: Mapping[str, Any], result_file: str) -> list[str]:
    """Return the command. The nodes of the option `targets` go to its standard input, one a line."""
    words = [executable, "run", "--yes", "--quiet", f"--json={result_file}"]
    words += [f"{word}={options[name]}" for name, word in VALUES.items() if options.get(name) is not None]
    words += [f"{word}={','.join(options[name])}" for name, word in LISTS.items() if options.get(name)]
    words += [f"{word}={value}" for name, word in REPEATED.items() for value in options.get(name) or ()]
    words += [word for name, word in FLAGS.items() if options.get(name)]
    if options.get("queue") is False:
        words.append("--no-queue")
    if options.get("tls") is False:
        words.append("--plain-http")
    if options.get("targets"):
        words.append("--nodes=-")
    return words


def standard_input(options: Mapping[str, Any]) -> Optional[str]:
    """Return the nodes, one a line."""
    targets = options.get("targets")
    return "".join(f"{target}\n" for target in targets) if targets else None


def result(lines: Iterable[str]) -> dict[str, Any]:
    """Return what a result file says; raises ValueError for a line that is not one of it.

    The last line of a node that has an outcome is the one that counts. A last line without a newline was cut.
    """
    summary: dict[str, Any] = {}
    nodes: dict[str, None] = {}  # in their order
    outcomes: dict[str, str] = {}
    errors: dict[str, str] = {}
    for text in lines:
        if not text.endswith("\n"):
            break
        line = json.loads(text)
        if line["line"] == "plan":
            nodes, summary = dict.fromkeys(line["nodes"]), {}
        elif line["line"] == "summary":
            summary = line
        elif line.get("outcome"):
            outcomes[line["node"]] = line["outcome"]
            errors.pop(line["node"], None)
            if line.get("error"):
                errors[line["node"]] = line["error"]
    groups: dict[str, list[str]] = {}
    for node in nodes:
        groups.setdefault(outcomes.get(node, "not started"), []).append(node)
    return {
        "nodes": len(nodes),
        "counts": {outcome: len(members) for outcome, members in groups.items()},
        "groups": groups,
        "remaining": [node for outcome in REMAINING for node in groups.get(outcome, ())],
        "errors": dict(itertools.islice(errors.items(), MAX_ERRORS)),
        "failed_new": summary.get("failed_new", 0),
        "failed_before": summary.get("failed_before", 0),
        "fixed": summary.get("fixed", 0),
        "stopped": summary.get("stopped"),
        "changed": bool(groups.get("changed") or groups.get("pending")),
    }


def failure(status: int, values: Mapping[str, Any]) -> str:
    """Return why the command has failed, in one line; '' if it has not."""
    if not status:
        return ""
    bits = [text for bit, text in BITS.items() if status & bit]
    why = bits if 0 < status < 64 else [f"exit status {status}"]  # a negative one is that of a signal
    if values.get("stopped"):
        why.append(str(values["stopped"]))
    counts = ", ".join(f"{number} {outcome}" for outcome, number in values["counts"].items())
    return f"{'; '.join(why)}: {counts}"
