"""`puppet-twitch check`: report what is wrong with a node's setup, with the fix. It changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

from twitch import texts
from twitch.arguments import Parser
from twitch.check import agent, callers, certificates, drop_ins, files, port, systemd, token_file, units
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import CONFIG_FILE, Config

DESCRIPTION = """\
Check this node's setup: users, files, units, Puppet, certificates, and what each caller may do.
Every note and fault is printed with its fix. Run it as root to check everything; it changes nothing.
"""
EXIT_STATUS = "Exit status: 0 without faults, 1 with a fault, 64 if the command line is invalid."

MARKS = {GOOD: "ok   ", NOTE: "note ", FAULT: "FAULT"}


def main(arguments: Sequence[str]) -> int:
    """Print all findings; return 1 if there is a fault, else 0. Raises `UsageError`."""
    parser = Parser("check", DESCRIPTION, EXIT_STATUS)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    options = parser.parse_args(arguments)
    findings = list(_findings())
    faults = sum(finding.level == FAULT for finding in findings)
    if options.json:
        print(json.dumps({"faults": faults, "findings": [finding._asdict() for finding in findings]}))
    else:
        for finding in findings:
            print(f"{MARKS[finding.level]} {texts.one_line(finding.text)}")
            if finding.fix:
                print(f"      fix: {texts.one_line(finding.fix)}")
        print(f"{faults} fault{'s' if faults > 1 else ''}." if faults else "No faults found.")
    return 1 if faults else 0


def _findings() -> Iterator[Finding]:
    """Yield all findings in the order in which they are printed."""
    as_root = os.geteuid() == 0
    if not as_root:
        text = "check does not run as root, so tokens, Puppet and certificates are not checked"
        yield Finding(NOTE, text, "sudo puppet-twitch check")
    account = systemd.account()
    yield from files.user(account)
    yield from files.only_root_writes(
        os.path.dirname(CONFIG_FILE), "replace its files and change who may trigger runs"
    )
    config = yield from files.configuration(account)
    tokens = (yield from token_file.check(account)) if as_root else None
    yield from units.check(account)
    yield from drop_ins.check()
    if as_root:
        yield from port.check()
        yield from agent.check(config or Config())
    if config is None:  # reporting the defaults would name grants that nobody has written
        return
    if as_root:
        yield from certificates.check(config, systemd.listener())
    yield from units.filters(config)
    yield from callers.check(config, tokens)
