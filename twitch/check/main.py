"""`puppet-twitch check`: report what is wrong with a node's setup, with the fix. It changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

from twitch import texts
from twitch.arguments import Parser
from twitch.check import (
    agent,
    callers,
    certificates,
    disabling,
    drop_ins,
    files,
    journal,
    port,
    runs,
    space,
    systemd,
    token_file,
    units,
    watch,
)
from twitch.check.findings import FAULT, GOOD, LEVELS, NOTE, Finding
from twitch.config import CONFIG_FILE, Config

DESCRIPTION = """\
Check this node's setup: users, files, units, Puppet, certificates, and what each caller may do.
Every note and fault is printed with its fix: a command for root's shell, or what to edit. Faults come
last. Run it as root to check everything; it changes nothing.
"""
EXIT_STATUS = "Exit status: 0 without faults, 1 with a fault, 64 if the command line is invalid."

NOT_ROOT = Finding(
    NOTE,
    "check does not run as root, so tokens, Puppet and certificates are not checked",
    "sudo puppet-twitch check",
)

MARKS = {GOOD: "ok   ", NOTE: "note ", FAULT: "FAULT"}


def main(arguments: Sequence[str]) -> int:
    """Print all findings; return 1 if there is a fault, else 0. Raises `UsageError`."""
    parser = Parser("check", DESCRIPTION, EXIT_STATUS)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.add_argument(
        "--quiet", action="store_true", help="print faults only, and nothing without a fault, for monitoring"
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"check what this file would mean in the place of {CONFIG_FILE}, and nothing else",
    )
    options = parser.parse_args(arguments)
    found = _findings() if options.config is None else _findings_of(options.config)
    # Faults last, because the end of the output is what stays on a screen.
    findings = sorted(found, key=lambda finding: LEVELS.index(finding.level))
    if options.quiet:
        # A monitor must not take for healthy what was not looked at.
        findings = [finding for finding in findings if finding.level == FAULT or finding == NOT_ROOT]
    faults = sum(finding.level == FAULT for finding in findings)
    if options.json:
        print(json.dumps({"faults": faults, "findings": [finding._asdict() for finding in findings]}))
    elif findings or not options.quiet:
        _print(findings, faults)
    return 1 if faults else 0


def _print(findings: Sequence[Finding], faults: int) -> None:
    for finding in findings:
        print(f"{MARKS[finding.level]} {texts.one_line(finding.text)}")
        if finding.fix:
            print(f"      fix: {texts.one_line(finding.fix)}")
    print(f"{faults} fault{'s' if faults > 1 else ''}." if faults else "No faults found.")


def _findings() -> Iterator[Finding]:
    """Yield all findings about the node."""
    as_root = os.geteuid() == 0
    yield from _without_root(as_root=as_root)
    account = systemd.account()
    yield from files.user(account)
    yield from files.only_root_writes(
        os.path.dirname(CONFIG_FILE), "replace its files and change who may trigger runs"
    )
    config = yield from files.configuration(account)
    tokens = (yield from token_file.check(account)) if as_root else None
    yield from units.check(account)
    yield from drop_ins.check()
    yield from journal.check()
    if as_root:
        yield from port.check()
        settings = yield from agent.check(config or Config())
        yield from space.check(settings)
        yield from runs.check(settings)
        yield from watch.check(settings)
        yield from disabling.check(settings)
    if config:  # reporting the defaults would name grants that nobody has written
        yield from _configured(config, tokens, as_root=as_root)


def _findings_of(path: str) -> Iterator[Finding]:
    """Yield what a configuration file that is not in place would mean, and nothing else."""
    as_root = os.geteuid() == 0
    yield from _without_root(as_root=as_root)
    config = yield from files.other_configuration(path)
    if config is None:
        return
    tokens: callers.Tokens = None
    if as_root:  # no other user can put the file in place
        yield from files.permissions_in_place(path, systemd.account())
        tokens = yield from token_file.read()
        yield from agent.installed(config)
    yield from _configured(config, tokens, as_root=as_root)


def _configured(config: Config, tokens: callers.Tokens, *, as_root: bool) -> Iterator[Finding]:
    if as_root:
        yield from certificates.check(config, systemd.listener())
    yield from units.filters(config)
    yield from callers.check(config, tokens)


def _without_root(*, as_root: bool) -> Iterator[Finding]:
    if not as_root:
        yield NOT_ROOT
