"""This node as root sees it: the records, the configuration, and Puppet with its settings and locks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from twitch import config
from twitch.root import puppet, puppet_locks, settings
from twitch.root.store import Store

if TYPE_CHECKING:
    from twitch.root.holds_in_lock import Lock


class Node:
    """The node at the time of one packet; raises `ConfigError` or `PuppetError` if Puppet cannot be asked."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.config = config.load()
        self.puppet = puppet.find(self.config.puppet_path)
        self.environment = puppet.environment(puppet.inherited())
        cache = os.path.join(store.root, "settings.json")
        self.settings = settings.load(self.puppet, cache, self.environment)

    def report_path(self, run: str) -> str:
        """Return where `puppet apply` writes the report of a run, because it knows no job id.

        It is beside the usual place, so that writing it succeeds or fails as it would for a run by hand. With
        a full disk elsewhere, Puppet would say so in its log and its report would be lost.
        """
        return f"{self.settings.lastrunreport}.puppet-twitch-{run}"

    def disabled(self) -> Optional[str]:
        """Return why the agent is disabled ('' if no reason was given), or None if it is enabled."""
        lock = self.disabling()
        return lock.message if lock else None

    def disabling(self) -> Optional[Lock]:
        """Return the lock that disables the agent, after lifting what has expired; None if it is enabled.

        `puppet apply` itself ignores that lock. The runs that puppet-twitch starts do not, with
        `command = apply` as well: an operator who disables Puppet wants no run.
        """
        path = self.settings.agent_disabled_lockfile
        if not os.path.exists(path):  # Puppet's own rule
            return None
        from twitch.root import holds_in_lock  # only a disabled node needs it

        return holds_in_lock.look(self.store, path)

    def lock_holder(self) -> Optional[puppet_locks.Holder]:
        """Return the Puppet that holds the agent's run lock, whether its run is ours or not."""
        return puppet_locks.run_lock_holder(self.settings.agent_catalog_run_lockfile)
