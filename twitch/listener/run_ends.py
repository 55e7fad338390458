"""The ends of the runs that this listener has started, as an event: nothing looks for them.

The handler that becomes Puppet leaves its connection to the listener open, and systemd holds it until the
unit of the run is gone. Conclude shuts it down when the verdict is on record (root/conclude.py). If conclude
is killed, systemd closes it (1.3 to 2 ms after the end of conclude, seen with 252 and 257). So the listener
reads an end-of-file in both cases, and all callers that wait for the run are told by it.

A run of another listener has no such event, and neither has a run that this listener does not know any more.
Callers look at the record of such a run again and again (api/call.py).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Callable, NamedTuple, Optional

log = logging.getLogger(__name__)

# One run is under way, one waits in the queue, and others are being concluded. systemd allows 16 units
# (MaxConnections= of puppet-twitch-run.socket); a connection that the listener keeps is none of these.
MAX_KEPT = 8


class _Kept(NamedTuple):
    connection: socket.socket
    end: asyncio.Future[None]


class RunEnds:
    """The connections to the handlers of runs. `ended()` is called when a run has ended."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._kept: dict[str, _Kept] = {}

    def keep(self, run: str, connection: socket.socket) -> None:
        """Keep the connection to the handler of a run; close it if there is one for the run, or no room."""
        if run in self._kept or len(self._kept) >= MAX_KEPT:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._kept[run] = _Kept(connection, loop.create_future())
        loop.add_reader(connection.fileno(), self._over, run)

    def of(self, run: str) -> Optional[asyncio.Future[None]]:
        """Return what is done at the end of a run; None if this listener does not hear of that."""
        kept = self._kept.get(run)
        return kept.end if kept else None

    def _over(self, run: str) -> None:
        """Tell all who wait for the run. Root sends nothing after its answer, so this is the end-of-file."""
        kept = self._kept.pop(run)
        asyncio.get_running_loop().remove_reader(kept.connection.fileno())
        kept.connection.close()
        log.debug("the connection of run %s has ended", run)
        self._ended()
        kept.end.set_result(None)
