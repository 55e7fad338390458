"""puppet-twitch-fleet as a process, with simulated nodes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fleet_nodes.fleet import Fleet

REPOSITORY = Path(__file__).resolve().parents[3]

# Where the tests run, so that `twitch` is the one of this tree.
COMMAND = ("/usr/bin/env", "-C", os.fspath(REPOSITORY), "/usr/bin/python3", "-m", "twitch.fleet.main")

LIMIT_S = 60  # far beyond what any command takes


def who(fleet: Fleet) -> list[str]:
    """Return the options that name all nodes of a fleet without TLS, and their addresses."""
    query = ("--query", "nodes[certname]{}", "--address-fact", "networking.ip")
    return ["--plain-http", "--port", str(fleet.port), "--puppetdb", fleet.puppetdb.url, *query]
