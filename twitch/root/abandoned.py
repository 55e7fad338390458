"""Runs of which nobody has seen the end, because their conclude was killed, or the node went down.

The handler concludes them before its next answer (turn.settle).
"""

from __future__ import annotations

import contextlib
import time
from typing import Optional

from twitch.records import FINISHED, INTERRUPTED, Record
from twitch.root import begun, counts
from twitch.root import conclude as conclusion
from twitch.root.claims import Claim
from twitch.root.process import boot_id
from twitch.root.store import Store


def conclude_lost(store: Store) -> None:
    """Conclude the run that became Puppet last, if a power cut or anything else took its record.

    The report that carries its id says what became of it. Without one it was interrupted.
    """
    with conclusion.locked(store):
        last = begun.read(store)
        if last is None or last.alive or store.recorded(last.record.run):
            return
        down = None
        if last.boot != boot_id():
            down = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        with contextlib.suppress(OSError):  # it is history, for which no answer waits
            _conclude_unseen(store, last.record, down)


def conclude(store: Store, claim: Claim) -> None:
    """Conclude a run whose own conclude was killed, so that the end of its process is not known.

    Raises `OSError` if the verdict cannot be written: then the run is concluded later.
    """
    with conclusion.locked(store):
        record = store.read(claim.run)
        if record is None:
            # No caller knows of a run without a record. An invalid record has to come to an end, too.
            if store.recorded(claim.run):
                _interrupted(store, claim.run, "how it ended is not known: its record is invalid")
        elif record.state != FINISHED:
            _conclude_unseen(store, record)
        with contextlib.suppress(OSError):  # the record says that it has ended (turn.settle)
            store.claims.release(claim.run, time.time())


def _conclude_unseen(store: Store, record: Record, down: Optional[float] = None) -> None:
    """Conclude a run of which nobody has seen the end, whatever happens. Raises `OSError`."""
    try:
        conclusion.conclude(store, record, "", "", down=down)
    except OSError:
        raise
    except Exception:
        # The handler comes here before every answer, so neither a bug of ours nor the content of a report
        # may stop it.
        import traceback  # 3 ms

        traceback.print_exc()
        written = store.read(record.run)
        if written is None or written.state != FINISHED:  # it may have failed after the verdict
            _interrupted(store, record.run, "how it ended cannot be read; the journal says why")


def _interrupted(store: Store, run: str, reason: str) -> None:
    now = time.time()
    record = Record(run, FINISHED, asked=now, ended=now, verdict=INTERRUPTED, reason=reason)
    store.write(record)
    counts.add(store, record)
