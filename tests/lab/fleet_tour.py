"""The steps of `make demo-fleet`: a deployment that breaks one node, and what puppet-twitch-fleet says."""

from __future__ import annotations

from .errors import LabError
from .fleet import Site, as_operator
from .server import ENVIRONMENTS
from .tour import Tour

MANIFEST = "node /^web/ { include app }\nnode default { }\n"
MODULE = f"{ENVIRONMENTS}/production/modules/app/manifests/init.pp"
BEFORE = """\
class app {
  file { '/etc/app.conf':
    content => "workers = 2\\n",
  }
}
"""
AFTER = """\
class app {
  file { '/etc/app.conf':
    content => "workers = 4\\n",
    owner   => 'app',
  }
}
"""
# The only node without the user that the deployment takes for granted.
BROKEN = "web2"

AFFECTED = "--affected-by modules/app/manifests/init.pp"


def tour(site: Site) -> int:
    """Show all steps; return 0, or print the step that failed and return 1."""
    at = Tour(site.machine, lambda script: as_operator("/bin/sh", "-c", script))
    try:
        _steps(at, site)
    except LabError as error:
        print(f"\ndemo: failed at: {at.step}\n{error}", flush=True)
        return 1
    return 0


def _steps(at: Tour, site: Site) -> None:
    # PuppetDB may know nodes of other tests as well.
    names = ", ".join(f'"{name}"' for name in site.nodes)
    everyone = f"--query 'nodes[certname] {{ certname in [{names}] }}'"

    site.server.manifest("production", MANIFEST)
    site.machine.write(MODULE, BEFORE)
    for name, node in site.nodes.items():
        if name != BROKEN:
            node.sh("getent passwd app || useradd --system app")

    at.begin("What Puppet is doing on each node that PuppetDB knows")
    at.show(f"puppet-twitch-fleet status {everyone}", "idle")

    at.begin("Running Puppet on all of them")
    at.show(f"puppet-twitch-fleet run {everyone}", "changed")

    at.begin("A deployment: the module app is changed")
    site.machine.write(MODULE, AFTER)
    at.show(f"cat {MODULE}")

    at.begin("Which nodes have that code in their catalogs, and how long it would take")
    at.show(f"puppet-twitch-fleet plan {AFFECTED}", "affected by .*at the earliest")

    at.begin("A dry run: what would change, on how many nodes")
    at.show(
        f"puppet-twitch-fleet run --noop --json dry.jsonl {AFFECTED}", "would change .*app/manifests/init.pp"
    )

    at.begin("The run, on the nodes with pending changes: one of them has no such user")
    at.show(
        "puppet-twitch-fleet run --json result.jsonl --from dry.jsonl --only pending",
        "1 failed|failed +1",
        exit_code=2,
    )

    at.begin("What failed, and why")
    at.show("puppet-twitch-fleet show result.jsonl failed", BROKEN)

    at.begin("The user is created, and Puppet runs once more where it had failed")
    site.nodes[BROKEN].sh("useradd --system app")
    at.show(
        "puppet-twitch-fleet run --from result.jsonl --only failed", "1 (fixed|changed)|(fixed|changed) +1"
    )
