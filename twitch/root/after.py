"""ExecStopPost= of every unit on root's side: conclude its run, if it was one.

Most of these units are questions and refused requests, and leave nothing to conclude. So what a verdict
needs, 25 ms, is imported for a run only.
"""

from __future__ import annotations

import os

from twitch.root.store import Store


def main() -> None:
    """Conclude the run of this invocation; raises `NotOurs` if the records cannot be trusted."""
    store = Store()
    store.trust()
    if store.without_verdict(os.environ.get("INVOCATION_ID", "")):
        from twitch.root import conclude

        conclude.main()
