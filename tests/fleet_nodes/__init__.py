"""Thousands of simulated nodes on loopback addresses, with a PuppetDB and a puppetserver beside them.

A simulated node is the listener's own API and connection (twitch/listener) over a root and records that are
in memory: its answers, headers, codes and privacy are those of a real node because the code is. Only Puppet
is simulated: a run takes the time and has the verdict that was drawn for its node. Each node listens on an
address of its own in 127.0.0.0/8, all on one port, so a node that refuses connections is one that does not
listen.

    with fleet_nodes.start(nodes=400, faults={"refuse": 0.05, "hang": 0.02}, run_s=(0.2, 0.5)) as fleet:
        …  # fleet.nodes, fleet.port, fleet.puppetdb.url
        assert all(len(runs) <= 1 for runs in fleet.started().values())

The processes end with the process that has started them, however that ends, and after `longest_s`.
"""

from __future__ import annotations

from tests.fleet_nodes.fleet import Fleet, start
from tests.fleet_nodes.scene import Fault

__all__ = ["Fault", "Fleet", "start"]
