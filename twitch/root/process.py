"""The start of a process, which tells it from others that have had its pid, and the boot of the node."""

from __future__ import annotations

from typing import Optional


def start_time(pid: int) -> Optional[int]:
    """Return the start of a process in clock ticks since boot; None if it has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name in parentheses may contain anything, so count from the last one (proc(5)).
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def boot_id() -> str:
    """Return the id of this boot of the node."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
