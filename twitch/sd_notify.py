"""Tell systemd the state of this process (sd_notify(3)): one datagram, for which no library is needed."""

from __future__ import annotations

import os
import socket


def notify(state: str, flags: int = 0) -> None:
    """Send systemd a state such as READY=1; without systemd, do nothing. Raises `OSError`."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        address = "\0" + path[1:] if path.startswith("@") else path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), flags, address)
