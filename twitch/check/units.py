"""`puppet-twitch check`, the part about systemd: units, sockets, and filters of addresses."""

from __future__ import annotations

import contextlib
import grp
import os
import shlex
import stat
from collections.abc import Iterator
from typing import NamedTuple

from twitch.check.findings import FAULT, GOOD, NOTE, Finding, output
from twitch.config import Config
from twitch.messages import RUN_SOCKET

SOCKET, RUN_UNIT_SOCKET = SOCKETS = ("puppet-twitch.socket", "puppet-twitch-run.socket")
LISTENER, INSTANCE = "puppet-twitch.service", "puppet-twitch@.service"
RUN = "puppet-twitch-run@.service"
SERVICES = (LISTENER, INSTANCE, RUN)


class Identity(NamedTuple):
    """Whose process the listener is; a site may have given both other names, by drop-ins."""

    user: str = "twitch"
    group: str = "twitch"


def identity() -> Identity:
    """Ask systemd, or where there is none take what is installed."""
    user = show(listener(), "User") or Identity().user
    return Identity(user, show(listener(), "Group") or user)


def units(who: Identity) -> Iterator[Finding]:
    """Whether everything is installed, and the sockets listen."""
    if output(["systemctl", "show", "-P", "Version"]) is None:
        yield Finding(FAULT, "systemd does not answer", "run this on a machine that systemd has booted")
        return
    states = {unit: show(unit, "LoadState") for unit in (*SOCKETS, *SERVICES)}
    for unit, state in states.items():
        if state == "masked":
            yield Finding(FAULT, f"{unit} is masked", f"systemctl unmask {unit}")
        elif state != "loaded":
            mend = "install puppet-twitch again; systemctl daemon-reload"
            yield Finding(FAULT, f"{unit} is not installed ({state})", mend)
    if set(states.values()) != {"loaded"}:
        return
    for unit in SOCKETS:
        state = show(unit, "ActiveState")
        if state == "active":
            yield Finding(GOOD, f"{unit} is {show(unit, 'SubState')}: {show(unit, 'Listen')}")
        else:
            text = f"{unit} is {state} ({show(unit, 'Result')})"
            yield Finding(FAULT, text, f"systemctl restart {unit}; journalctl -u {unit}")
    if show(SOCKET, "UnitFileState") not in ("enabled", "enabled-runtime"):
        yield Finding(NOTE, f"{SOCKET} does not start at boot", f"systemctl enable {SOCKET}")
    result = show(listener(), "Result")
    if result != "success":
        text = f"{listener()} ended with {result}; the credentials of tls.conf may be missing"
        yield Finding(FAULT, text, f"journalctl -u {LISTENER}")
    stale = [unit for unit in (*SOCKETS, *SERVICES) if show(unit, "NeedDaemonReload") == "yes"]
    if stale:
        yield Finding(NOTE, f"systemd has not read again: {', '.join(stale)}", "systemctl daemon-reload")
    yield from _run_socket(who)
    yield from _asker(who)


def _run_socket(who: Identity) -> Iterator[Finding]:
    try:
        info = os.stat(RUN_SOCKET)
    except OSError:
        if show(RUN_UNIT_SOCKET, "ActiveState") == "active":  # else it has been said
            text = f"{RUN_SOCKET} is gone, so the listener cannot ask"
            yield Finding(FAULT, text, f"systemctl restart {RUN_UNIT_SOCKET}")
        return
    if stat.S_IMODE(info.st_mode) != 0o660 or info.st_uid != 0:
        text = f"{RUN_SOCKET}: mode {stat.S_IMODE(info.st_mode):o}, owner {info.st_uid}"
        yield Finding(FAULT, text, f"systemctl restart {RUN_UNIT_SOCKET}")
    with contextlib.suppress(KeyError):
        if grp.getgrnam(who.group).gr_gid != info.st_gid:
            text = f"{RUN_SOCKET}: its group is {info.st_gid}, not {who.group}, so the listener cannot ask"
            mend = f"SocketGroup={who.group} in a drop-in of {RUN_UNIT_SOCKET}; systemctl restart it"
            yield Finding(FAULT, text, mend)


def _asker(who: Identity) -> Iterator[Finding]:
    """Whom root hears, and for whom it writes records."""
    told = dict(word.partition("=")[::2] for word in shlex.split(show(RUN, "Environment")))
    for name, wanted in (("PUPPET_TWITCH_USER", who.user), ("PUPPET_TWITCH_GROUP", who.group)):
        if told.get(name, "twitch") != wanted:
            text = f"{RUN} takes {told.get(name, 'twitch')} for the listener's, which is {wanted}"
            yield Finding(FAULT, text, f"Environment={name}={wanted} in a drop-in of {RUN}")


def filters(settings: Config) -> Iterator[Finding]:
    """Who is heard at all, and which filters of systemd's are none."""
    networks = " ".join(str(network) for network in settings.networks)
    yield Finding(GOOD, f"requests are heard from {networks} ([access] from)")
    if show(listener(), "IPAddressAllow"):
        # systemd.resource-control(5): "not applied to any sockets passed in".
        text = f"IPAddressAllow= of {listener()} filters nothing: its sockets are inherited"
        yield Finding(NOTE, text, f"put it into a drop-in of {SOCKET}, or use [access] from")
    denied = show(SOCKET, "IPAddressDeny")
    if not denied:
        return
    if output(["systemd-detect-virt", "--container", "--quiet"]) is None:
        yield Finding(GOOD, f"{SOCKET} has IPAddressDeny={denied} besides")
    else:
        text = f"IPAddressDeny={denied} of {SOCKET} may filter nothing in this container"
        yield Finding(NOTE, text, "rely on [access] from, or on the firewall of the host")


def listener() -> str:
    """Return the unit that serves: one listener, or an instance for each connection."""
    return INSTANCE if show(SOCKET, "Accept") == "yes" else LISTENER


def show(unit: str, what: str) -> str:
    """Return a property of a unit; of a template, systemd knows that of an instance."""
    return output(["systemctl", "show", "-P", what, unit.replace("@.", "@check.")]) or ""
