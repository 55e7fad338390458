"""The end of a hold: a timer of systemd, and a unit that looks after each boot.

A transient timer is gone after a reboot, and Puppet's lock is not. So as long as a hold has an end, there is
a file that lets `puppet-twitch-expiry.service` start at boot: it lifts what has ended, and sets the timer
again. The timer starts the same unit. If both fail, the handler lifts a hold when it sees it
(holds_in_lock.look).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Optional

from twitch.holds import Hold
from twitch.root import files, programs
from twitch.root.node import Node
from twitch.root.ownership import NotOurs
from twitch.root.store import Store
from twitch.texts import one_line

SERVICE = "puppet-twitch-expiry.service"
TIMER = "puppet-twitch-expiry.timer"
# Where systemd keeps the unit file of a transient timer.
TRANSIENT = f"/run/systemd/transient/{TIMER}"
MAX_FILE_CHARS = 16 * 1024


def main() -> None:
    """Lift what has ended, and set the timer for the next end. Raises `TwitchError` and `OSError`."""
    from twitch.root import holds_in_lock

    store = Store()
    store.trust()
    path = remembered(store) or Node(store).settings.agent_disabled_lockfile
    if not os.path.lexists(path):  # `puppet agent --enable`
        arm(store, ())
        return
    holds_in_lock.lift(store, path)


def ends(holds: tuple[Hold, ...]) -> list[float]:
    """Return the ends of holds, the first one first."""
    return sorted(hold.until for hold in holds if hold.until is not None)


# ---- after a reboot


def remembered(store: Store) -> Optional[str]:
    """Return the path of Puppet's lock, in which a hold has an end; None if it is not known."""
    try:
        store.trust_history()
        with open(store.disabled_path, encoding="utf-8") as file:
            path = json.loads(file.read(MAX_FILE_CHARS))["lock"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, NotOurs):
        return None
    return path if isinstance(path, str) and path.startswith("/") else None


def remember(store: Store, path: str, holds: tuple[Hold, ...]) -> None:
    """Keep the path of Puppet's lock where a reboot leaves it, if a hold has an end."""
    if not ends(holds) or remembered(store) == path:
        return
    try:
        store.prepare_state()
        content = json.dumps({"lock": path}).encode("ascii")
        with files.replacing(store.disabled_path, f"{store.disabled_path}.{os.getpid()}", 0o600) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, NotOurs) as error:
        text = f"after a reboot, nothing enables Puppet in time: {error}"
        print(f"<4>{one_line(text)}", file=sys.stderr)


# ---- the timer


def arm(store: Store, holds: tuple[Hold, ...]) -> None:
    """Let systemd start the unit at the first end, or forget an earlier timer if there is no end."""
    first = next(iter(ends(holds)), None)
    if first is None:
        with contextlib.suppress(OSError):
            files.remove(store.disabled_path)
        if os.path.exists(TRANSIENT):
            programs.run("systemctl", "--quiet", "stop", TIMER)
        return
    # systemd never starts a timer whose time has passed when it is made.
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(first, time.time() + 2)))
    if at in _transient():
        return
    if os.path.exists(TRANSIENT):
        programs.run("systemctl", "--quiet", "stop", TIMER)
    # A calendar time, because other timers do not count suspended time and changes of the clock.
    options = ["--quiet", "--no-ask-password", f"--unit={SERVICE}", f"--on-calendar={at}"]
    options += ["--timer-property=AccuracySec=1s", "--timer-property=IgnoreOnIsolate=yes"]
    error = programs.run("systemd-run", *options)
    if error:
        text = f"no timer enables Puppet in time: {error}; systemctl start {SERVICE} sets it"
        print(f"<4>{one_line(text)}", file=sys.stderr)


def _transient() -> str:
    try:
        with open(TRANSIENT, encoding="utf-8", errors="replace") as file:
            return file.read(MAX_FILE_CHARS)
    except OSError:
        return ""
