"""This node as root sees it: where the records are, which Puppet, its settings, its locks."""

from __future__ import annotations

import os
from typing import Optional

from twitch import config, runs
from twitch.root import locks, puppet, settings


class Node:
    """Looked up once per packet; raises `ConfigError` or `PuppetError` when that is not possible."""

    def __init__(self, store: runs.Store) -> None:
        self.store = store
        self.config = config.load()
        self.puppet = puppet.find(self.config.puppet_path)
        self.environment = puppet.environment(os.environ)
        cache = os.path.join(store.root, "settings.json")
        self.settings = settings.load(self.puppet, cache, self.environment)

    def disabled(self) -> Optional[str]:
        """Return why the agent is disabled ('' if nobody said), or None if it is not."""
        return locks.disabled_reason(self.settings.agent_disabled_lockfile)

    def lock_holder(self) -> Optional[locks.Holder]:
        """Return the live Puppet that holds the agent's run lock, be it a run of ours or not."""
        return locks.run_lock_holder(self.settings.agent_catalog_run_lockfile)
