"""`puppet-twitch-fleet` with short times: `python3 -m tests.fleet_nodes.impatient OPTION…`.

Its own times are for networks and for Puppet, where a minute is short. Here a run takes half a second, and
the same paths of the code have to be seen within seconds.
"""

from __future__ import annotations

import sys

from twitch.fleet import main
from twitch.fleet.node import connection
from twitch.fleet.run import following, proving, start_once


def hurry() -> None:
    """Shorten every wait to a fraction; the rules stay as they are.

    What is given up after a time has enough of it on a busy machine.
    """
    connection.ANSWER_S = 5.0
    start_once.NOT_SENT_S = 0.1
    start_once.BUSY_S = (0.1, 0.5)
    start_once.LOOKS_S = (0.1, 0.5)
    start_once.MAX_RETRY_AFTER_S = 0.2
    following.AGAIN_S = (0.1, 0.5)
    following.OUT_OF_REACH_S = 10.0
    following.LOOK_S = (0.1, 0.5)
    following.SILENT_S = 1.0
    proving.PROOF_S = 10.0


if __name__ == "__main__":
    hurry()
    sys.exit(main.main())
