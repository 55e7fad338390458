"""The units: installed, loaded, listening, with matching users; and who may connect to the port."""

from __future__ import annotations

import contextlib
import grp
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping

from twitch.check import files, port, systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.systemd import (
    LISTENER,
    LISTENER_INSTANCE,
    LOG,
    LOG_SOCKET,
    RUN,
    RUN_SOCKET,
    SERVICES,
    SOCKET,
    SOCKETS,
    WATCH,
    WATCH_SERVICE,
    Account,
)
from twitch.config import EVERYWHERE, Config
from twitch.log_packets import LOG_SOCKET as LOG_SOCKET_FILE
from twitch.messages import RUN_SOCKET as RUN_SOCKET_FILE

# As in units/: a drop-in for all services may set fewer.
DESCRIPTORS = {LISTENER: 512, LISTENER_INSTANCE: 64}

# The sockets below /run/puppet-twitch: unit -> its file, and the process that it starts.
PRIVATE = {RUN_SOCKET: (RUN_SOCKET_FILE, "root"), LOG_SOCKET: (LOG_SOCKET_FILE, "the log reader")}

# Statuses from 200 on are those of systemd for a process that has not become the command of its unit
# (systemd.exec(5)).
NOT_STARTED = re.compile(r"Failed |Main process exited, code=exited, status=2\d\d/[A-Z]")

# What a unit has to know of the listener: whose questions it answers, and which group reads its records.
EXPECT = {RUN: ("user", "group"), LOG: ("user",), WATCH_SERVICE: ("group",)}


def check(account: Account) -> Iterator[Finding]:
    """Report whether everything is installed, the sockets listen, and root expects this listener."""
    if systemd.output(["systemctl", "show", "-P", "Version"]) is None:
        fix = "run puppet-twitch check on a machine that was booted with systemd"
        yield Finding(FAULT, "systemd does not answer systemctl", fix, by_hand=True)
        return
    not_loaded = list(_not_loaded())
    yield from not_loaded
    if not_loaded:
        return
    yield from _sockets()
    yield from _descriptors()
    yield from _last_start()
    yield from _stale()
    yield from _private_sockets(account)
    yield from _expected_listener(account)


def filters(config: Config) -> Iterator[Finding]:
    """Report which addresses may connect, and systemd filters that have no effect."""
    networks = EVERYWHERE if config.networks is None else " ".join(map(str, config.networks))
    yield Finding(GOOD, f"requests are accepted from {networks} ([access] from)")
    listener = systemd.listener()
    if systemd.show(listener, "IPAddressAllow"):
        # systemd.resource-control(5): "not applied to any sockets passed in".
        text = (
            f"IPAddressAllow= of {listener} has no effect on clients, because the unit inherits its sockets"
        )
        fix = f"move it to [Socket] with systemctl edit {SOCKET}, or use [access] from"
        yield Finding(NOTE, text, fix, by_hand=True)
    denied = systemd.show(SOCKET, "IPAddressDeny")
    if not denied:
        return
    if systemd.output(["systemd-detect-virt", "--container", "--quiet"]) is None:
        yield Finding(GOOD, f"{SOCKET} also filters addresses: IPAddressDeny={denied}")
    else:
        text = f"IPAddressDeny={denied} of {SOCKET} may have no effect in this container"
        fix = "use [access] from, or the firewall of the container's host"
        yield Finding(NOTE, text, fix, by_hand=True)


def _not_loaded() -> Iterator[Finding]:
    for unit in (*SOCKETS, *SERVICES):
        state = systemd.show(unit, "LoadState")
        restart = f"; systemctl restart {unit}" if unit in SOCKETS else ""
        if state == "masked":
            # A mask in /run needs --runtime; without such a mask that is no error.
            fix = f"systemctl unmask {unit}; systemctl unmask --runtime {unit}{restart}"
            yield Finding(FAULT, f"{unit} is masked", fix)
        elif state != "loaded":
            fix = f"reinstall puppet-twitch; then systemctl daemon-reload{restart}"
            if state != "not-found":
                verify = f"systemd-analyze verify {unit.replace('@.', '@check.')}"
                fix = f"{verify} names the line; correct it; then systemctl daemon-reload{restart}"
            yield Finding(FAULT, f"{unit} is not loaded (LoadState={state})", fix, by_hand=True)


def _sockets() -> Iterator[Finding]:
    enabled = systemd.show(SOCKET, "UnitFileState") in ("enabled", "enabled-runtime")
    states = {unit: systemd.show(unit, "ActiveState") for unit in SOCKETS}
    if not enabled and states[SOCKET] == "inactive":
        # As after `make install`, and where an operator has closed the port.
        yield Finding(NOTE, f"{SOCKET} is disabled: the port is closed", f"systemctl enable --now {SOCKET}")
        return
    for unit, state in states.items():
        if state == "active":
            yield Finding(GOOD, f"{unit} is {systemd.show(unit, 'SubState')}: {systemd.show(unit, 'Listen')}")
        else:
            yield _not_listening(unit, state)
    if not enabled:
        yield Finding(NOTE, f"{SOCKET} does not start at boot", f"systemctl enable {SOCKET}")


def _not_listening(unit: str, state: str) -> Finding:
    result = systemd.show(unit, "Result")
    complaints = _in_systemd_words(unit)
    text = f"{unit} does not listen (ActiveState={state}, Result={result}){complaints}"
    restart = f"systemctl restart {unit}"
    openers = list(port.openers()) if unit == SOCKET else []
    if openers:
        ends = [systemd.end_command(opener.pid) for opener in openers]
        return Finding(FAULT, text, "; ".join([*dict.fromkeys(ends), restart]))
    if result == "resources" and complaints:  # a restart would fail again: an address that is not there
        return Finding(FAULT, text, f"fix that cause; then {restart}", by_hand=True)
    return Finding(FAULT, text, restart)


def _descriptors() -> Iterator[Finding]:
    """Report a listener with too few descriptors: it accepts no connection, or answers each with 503."""
    listener = systemd.listener()
    limit, needed = systemd.show(listener, "LimitNOFILE"), DESCRIPTORS[listener]
    if limit.isdigit() and int(limit) < needed:
        text = f"LimitNOFILE={limit} of {listener} is too low, so it refuses connections; it needs {needed}"
        setting = systemd.drop_in_command(listener, "Service", f"LimitNOFILE={needed}")
        yield Finding(FAULT, text, f"{setting}; systemctl stop {listener.replace('@.', '@*.')}")


def _last_start() -> Iterator[Finding]:
    listener = systemd.listener()
    result = systemd.show(listener, "Result")
    # While systemd starts a unit again, the result of its last start is gone (seen with systemd 252).
    starting = systemd.show(listener, "ActiveState") == "activating"
    again = starting and systemd.show(listener, "NRestarts") not in ("", "0")
    if result != "success" or again:
        how = f"failed (Result={result})" if result != "success" else "failed, and systemd starts it again"
        text = f"{listener} {how}" + _in_systemd_words(listener)
        start = "" if listener == LISTENER_INSTANCE else f"; then systemctl restart {LISTENER}"
        fix = f"fix that cause, journalctl -u {LISTENER} has all lines{start}"
        yield Finding(FAULT, text, fix, by_hand=True)
    # systemd forgets an instance that has failed, so only the journal knows. A run that Puppet ends with an
    # error is no failure of its unit to start.
    for template in (LISTENER_INSTANCE, RUN, LOG):
        complaints = [text for text in systemd.complaints(template) if NOT_STARTED.match(text)]
        if complaints:
            text = f"{template} could not start in the last hour; systemd says: {'; '.join(complaints)}"
            instances = systemd.instances(template)
            fix = f"fix that cause; journalctl -u '{instances}' has all lines"
            yield Finding(NOTE, text, fix, by_hand=True)


def _in_systemd_words(unit: str) -> str:
    complaints = systemd.complaints(unit)
    return f"; systemd says: {'; '.join(complaints)}" if complaints else ""


def _stale() -> Iterator[Finding]:
    stale = systemd.changed((*SOCKETS, *SERVICES))
    if stale:
        text = f"systemd has not read the changed unit files of {', '.join(stale)}"
        yield Finding(NOTE, text, "systemctl daemon-reload")


def _private_sockets(account: Account) -> Iterator[Finding]:
    """Report a socket of root or of the log reader that is gone, or has another owner, group or mode than its
    unit gives it."""
    for unit, (path, peer) in PRIVATE.items():
        try:
            info = os.stat(path)
        except OSError:
            if systemd.show(unit, "ActiveState") == "active":  # if not, `_sockets` has reported the unit
                text = f"{path} does not exist, so the listener cannot reach {peer}"
                yield Finding(FAULT, text, f"systemctl restart {unit}")
            continue
        restart = f"systemctl restart {unit}"
        owner, mode = files.owner_name(info.st_uid), stat.S_IMODE(info.st_mode)
        if mode != 0o660 or info.st_uid != 0:
            text = f"{path} has owner {owner}, mode {mode:o}; it must have owner root, mode 660"
            wanted = {"SocketUser": "root", "SocketMode": "0660"}
            yield Finding(FAULT, text, "; ".join([*_settings(unit, wanted), restart]))
        with contextlib.suppress(KeyError):  # `files.user` has reported a group that does not exist
            if grp.getgrnam(account.group).gr_gid != info.st_gid:
                group = f"group {files.group_name(info.st_gid)}, not {account.group}"
                text = f"{path} has {group}, so the listener cannot reach {peer}"
                wanted = {"SocketGroup": account.group}
                yield Finding(FAULT, text, "; ".join([*_settings(unit, wanted), restart]))


def _settings(unit: str, wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield the commands for settings that the unit of a socket itself does not have."""
    for name, value in wanted.items():
        if systemd.show(unit, name) != value:
            yield systemd.drop_in_command(unit, "Socket", f"{name}={value}")


def _expected_listener(account: Account) -> Iterator[Finding]:
    """Report a unit that expects the listener to have another user or group (twitch/listener_user.py)."""
    for unit, kinds in EXPECT.items():
        if unit == WATCH_SERVICE and systemd.show(WATCH, "ActiveState") != "active":
            continue
        environment = dict(
            word.partition("=")[::2] for word in shlex.split(systemd.show(unit, "Environment"))
        )
        for kind, name, actual in (
            ("user", "PUPPET_TWITCH_USER", account.user),
            ("group", "PUPPET_TWITCH_GROUP", account.group),
        ):
            expected = environment.get(name, "twitch")
            if expected != actual and kind in kinds:
                text = f"{unit} expects the listener's {kind} to be {expected}, but it is {actual}"
                fix = systemd.drop_in_command(unit, "Service", f"Environment={name}={actual}")
                yield Finding(FAULT, text, fix)
