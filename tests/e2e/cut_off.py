"""A run that is followed, and whose node has lost its network in the middle."""

from __future__ import annotations

from tests.e2e import fleet_run
from tests.lab import network
from tests.lab.fleet import Site


class CutOff:
    """The run of web3, from the moment in which the network is gone."""

    def __init__(self, site: Site) -> None:
        self._name = "web3"
        fleet_run.hold(site, self._name)
        self.run = fleet_run.Started(site, self._name)
        self.id = str(self.run.await_event(self._name, "running")["run"])
        fleet_run.await_held(site.nodes[self._name])
        network.cut(self._name)
        site.server.manifest("production", "")

    def restore(self) -> None:
        """Give the node its network back."""
        network.restore(self._name)
