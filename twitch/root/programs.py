"""Programs of systemd that root starts: each gives PID 1 an order, and ends."""

from __future__ import annotations

import subprocess

from twitch.root import memory

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
# PID 1 only takes the order; a busy one takes longer.
TIMEOUT_S = 20


def run(*command: str) -> str:
    """Run a program; return the first line of its error, or ''."""
    # root's systemctl talks to PID 1 over a socket of its own, and needs no D-Bus.
    try:
        with memory.unlimited():
            done = subprocess.run(
                command,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return f"it did not end in {TIMEOUT_S} s"
    except OSError as error:
        return str(error)
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if done.returncode == 0 else lines[0] if lines else f"exit {done.returncode}"
