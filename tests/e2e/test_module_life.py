"""`include twitch` on two real nodes: set up, change by Hiera, and take off again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from tests.e2e import site
from tests.e2e.site import VERSION, Site
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

IMAGES = {"node11": "debian12", "extra": "debian13"}


@pytest.fixture(scope="module")
def managed(server: PuppetServer) -> Site:
    return Site(server)


@pytest.fixture(scope="module")
def nodes(lab: Lab, managed: Site) -> Iterator[dict[str, Machine]]:
    """Two machines without puppet-twitch; the first run of each is a test's."""
    booted = {}
    for name, image in IMAGES.items():
        booted[image] = lab.boot(name, image=image)
        managed.enrol(booted[image], "life")
        managed.hiera(booted[image])
    yield booted
    for machine in booted.values():
        lab.discard(machine)


@pytest.fixture(scope="module", params=IMAGES.values())
def node(request: pytest.FixtureRequest, nodes: dict[str, Machine]) -> Machine:
    return nodes[request.param]


@pytest.fixture(scope="module")
def neighbour(node: Machine, nodes: dict[str, Machine]) -> Machine:
    return next(machine for machine in nodes.values() if machine is not node)


def sockets(node: Machine) -> list[int]:
    return [site.active(node, f"puppet-twitch{part}.socket") for part in ("", "-run")]


def test_the_first_run_sets_up_and_the_second_changes_nothing(node: Machine) -> None:
    assert site.leftovers(node) == ""
    assert site.apply(node)
    assert node.curl("/version").body.strip() == VERSION
    assert node.run("id", "--name", "--groups", "twitch").stdout.split() == ["twitch"]
    for socket in ("puppet-twitch.socket", "puppet-twitch-run.socket"):
        assert node.run("systemctl", "is-enabled", socket).stdout.strip() == "enabled"
    before = sockets(node)
    assert not site.apply(node)
    assert sockets(node) == before
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_the_other_node_can_ask(node: Machine, neighbour: Machine) -> None:
    reply = neighbour.curl(f"http://{node.name}:2023/puppet/twitch?async=false", timeout_s=120)
    assert (reply.status, reply.body) == (200, "Puppet run complete")
    assert reply.headers["puppet-verdict"] == "unchanged"


def test_it_answers_after_a_reboot(node: Machine, neighbour: Machine) -> None:
    node.reboot()
    assert neighbour.curl(f"http://{node.name}:2023/version").status == 200


# Each is told to the node in the same way: Hiera, and a run which puppet-twitch itself is asked for.
CHANGES = {
    "port": ({"port": 8023}, "http://{name}:8023"),
    "addresses": ({"listen_addresses": ["{address}", "{address6}"]}, "http://[{address6}]:2023"),
    "shape": ({"per_connection": True}, "http://{name}:2023"),
    "both back": ({"port": 80}, "http://{name}:80"),
    "defaults": ({}, "http://{name}:2023"),
}


def test_changes_arrive_in_one_run_that_it_was_asked_for(
    node: Machine, neighbour: Machine, managed: Site
) -> None:
    own = {"name": node.name, "address": node.address, "address6": node.address6}
    base = "http://{name}:2023".format(**own)
    for name, (parameters, after) in CHANGES.items():
        run_socket = site.active(node, "puppet-twitch-run.socket")
        managed.hiera(node, **_filled(parameters, own))
        reply = neighbour.curl(f"{base}/puppet/twitch?async=false", timeout_s=120)
        base = after.format(**own)
        run = reply.headers["puppet-run"]
        assert reply.status in (200, 202), (name, reply)
        verdict = neighbour.curl(f"{base}/puppet/runs/{run}?wait=60", *site.PATIENT, timeout_s=120)
        assert verdict.headers["puppet-verdict"] == "changed", (name, verdict)
        assert site.active(node, "puppet-twitch-run.socket") == run_socket, name
        assert node.sh("systemctl --failed --no-legend").stdout == "", name
        assert not site.apply(node), name


def _filled(value: object, own: dict[str, str]) -> dict[str, object]:
    def fill(part: object) -> object:
        if isinstance(part, str):
            return part.format(**own)
        return [fill(one) for one in part] if isinstance(part, list) else part

    assert isinstance(value, dict)
    return {name: fill(part) for name, part in value.items()}


def test_only_the_addresses_allowed_are_heard(node: Machine, neighbour: Machine, managed: Site) -> None:
    managed.hiera(node, allowed_addresses=["127.0.0.0/8", "::1"])
    assert site.apply(node)
    assert node.curl("/version").status == 200
    assert neighbour.curl(f"http://{node.name}:2023/version").status == 403
    managed.hiera(node, access={"anonymous": []})
    assert site.apply(node)
    assert neighbour.curl(f"http://{node.name}:2023/version").status == 200
    assert neighbour.curl(f"http://{node.name}:2023/puppet/twitch").status in (401, 403)
    managed.hiera(node)
    assert site.apply(node)


def test_what_it_does_not_need_is_not_restarted(node: Machine, managed: Site) -> None:
    before = sockets(node)
    managed.hiera(node, run_timeout="2h", puppet_path="/usr/bin/puppet")
    assert site.apply(node)
    shown = node.run("systemctl", "show", "--property=RuntimeMaxUSec", "puppet-twitch-run@x.service")
    assert shown.stdout.strip() == "RuntimeMaxUSec=2h"
    assert sockets(node) == before


def test_tokens_and_tls_are_what_the_node_understands(
    node: Machine, neighbour: Machine, managed: Site
) -> None:
    token = "known-to-its-holder-only"
    name, ssl = site.certname(node), "/var/lib/puppet/ssl"
    managed.hiera(
        node,
        access={
            "anonymous": [],
            "token:deploy": ["trigger", "environment=*", "status"],
            "cert:*.example.com": ["noop"],
        },
        tokens={"deploy": {"sha256": hashlib.sha256(token.encode()).hexdigest(), "expires": "2999-12-31"}},
        tls={
            "cert": f"{ssl}/certs/{name}.pem",
            "key": f"{ssl}/private_keys/{name}.pem",
            "ca": f"{ssl}/certs/ca.pem",
            "crl": f"{ssl}/crl.pem",
        },
    )
    assert site.apply(node)
    assert not site.apply(node)
    node.run("puppet-twitch", "check")
    status = f"https://{node.name}:2023/puppet/status"
    assert neighbour.curl(status, "--insecure").status == 401
    assert neighbour.curl(status, "--insecure", "--oauth2-bearer", token).status == 200
    managed.hiera(node)
    assert site.apply(node)
    assert neighbour.curl(f"http://{node.name}:2023/puppet/status").status == 200


def test_a_fault_in_the_data_fails_the_run_and_leaves_the_node_as_it_is(node: Machine, managed: Site) -> None:
    managed.hiera(node, port=65536)
    with pytest.raises(LabError, match="parameter 'port'"):
        site.apply(node)
    assert node.curl("/version").status == 200
    managed.hiera(node)


def test_uninstalling_leaves_nothing(node: Machine, managed: Site) -> None:
    managed.hiera(node, ensure="absent", port=8023)
    assert site.apply(node)
    assert site.leftovers(node) == ""
    assert not site.apply(node)
