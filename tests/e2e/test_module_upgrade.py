"""puppet-twitch is upgraded, restarted or removed by a run that it has started itself."""

from __future__ import annotations

from collections.abc import Iterator
from subprocess import Popen
from typing import Optional

import pytest

from tests.e2e import site, stub, systems
from tests.e2e.log_client import Following
from tests.e2e.site import NEXT_VERSION, VERSION, Site
from tests.lab import curl
from tests.lab.curl import Reply
from tests.lab.lab import Disk, Lab
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

CALLER_TIMEOUT_S = 120

HELD, GO, END = "/root/held", "/root/go", "/root/end"

# A catalog that waits in the middle for the test, and then has a resource left.
HOLD = f"""
    exec {{ 'hold':
      command => "/bin/sh -c 'touch {HELD}; until test -e {GO}; do sleep 0.1; done'",
    }}
    -> file {{ '{END}': ensure => file }}
"""
SOCKETS = "puppet-twitch.socket puppet-twitch-run.socket puppet-twitch-log.socket"
# An operator's own resource, which restarts our units by name.
RESTART = f"""
    exec {{ 'restart':
      command  => "systemctl restart {SOCKETS} %s",
      provider => shell,
      path     => '/usr/bin',
    }}
    -> file {{ '{END}': ensure => file }}
"""
# The listeners of each shape; 'puppet-twitch*' would match the run as well, and end it.
LISTENERS = {False: "puppet-twitch.service", True: "'puppet-twitch@*'"}
ONE, EACH = (
    pytest.param("debian12", False, id="one listener"),
    pytest.param("debian13", True, id="per connection"),
)
NEWEST = pytest.param("debiantesting", False, id="newest")


def shapes(*of: object) -> pytest.MarkDecorator:
    """Return the mark for shapes, each on one system.

    Every shape has passed on every system in November 2026, and the others are not tested now.
    """
    return pytest.mark.parametrize(("node", "per_connection"), of, indirect=["node"])


@pytest.fixture(scope="module")
def managed(server: PuppetServer) -> Site:
    return Site(server)


class Disks:
    """Disks of machines that the module has set up at version N: for a test, a boot is quicker than a run."""

    def __init__(self, lab: Lab, managed: Site) -> None:
        self._lab = lab
        self._managed = managed
        self._kept: dict[tuple[str, bool], Disk] = {}

    def of(self, image: str, *, per_connection: bool) -> Disk:
        """Return the disk of an image with a shape."""
        if (image, per_connection) not in self._kept:
            before = self.of(image, per_connection=False) if per_connection else ()
            node = systems.boot(self._lab, "extra", image, before)
            if not before:
                self._managed.enrol(node, image)
            self._managed.hiera(node, per_connection=per_connection)
            site.apply(node)
            self._kept[image, per_connection] = self._lab.keep(node)
        return self._kept[image, per_connection]


@pytest.fixture(scope="module")
def disks(lab: Lab, managed: Site) -> Disks:
    return Disks(lab, managed)


@pytest.fixture
def per_connection() -> bool:
    """Return the default for tests without this parameter."""
    return False


@pytest.fixture(params=systems.STABLE.values())
def node(
    request: pytest.FixtureRequest, lab: Lab, disks: Disks, managed: Site, per_connection: bool
) -> Iterator[Machine]:
    """Return a machine in the state that the module leaves, at version N."""
    booted = systems.boot(lab, "extra", request.param, disks.of(request.param, per_connection=per_connection))
    managed.hiera(booted, per_connection=per_connection)
    assert booted.curl("/version").body.strip() == VERSION
    yield booted
    managed.server.manifest("module", "include twitch")
    lab.discard(booted)


@pytest.fixture
def caller(managed: Site) -> Machine:
    """Return another machine."""
    return managed.server.machine


def ask(caller: Machine, node: Machine) -> Popen[str]:
    url = f"http://{node.name}:2023/puppet/twitch?async=false"
    return caller.popen("curl", "--silent", "--show-error", "--include", url)


def await_held(node: Machine, asked: Popen[str]) -> None:
    """Wait until the run that a caller has asked for is held; the caller must not have an answer yet."""

    def held() -> bool:
        assert asked.poll() is None, asked.communicate()
        return node.exists(HELD)

    node.wait(held, CALLER_TIMEOUT_S)


def verdict(caller: Machine, node: Machine, asked: Popen[str]) -> tuple[str, str]:
    """Wait for the end of a run, as its caller would; return its id and its verdict."""
    output, _ = asked.communicate(timeout=CALLER_TIMEOUT_S)
    reply = curl.parse(output.replace("\n", "\r\n"))
    run = reply.headers["puppet-run"]
    assert run
    url = f"http://{node.name}:2023/puppet/runs/{run}?wait=60"

    def ended() -> Optional[Reply]:
        reply = caller.curl(url, *site.PATIENT, timeout_s=120)
        # curl retries after a 503 as well, when root's socket is restarted, but prints that one, too.
        assert reply.status in (200, 202, 503), reply
        return reply if reply.status == 200 else None

    if reply.status == 202:
        assert reply.headers["location"] == f"/puppet/runs/{run}"
        reply = caller.wait(ended, CALLER_TIMEOUT_S) or reply
    assert reply.status == 200, reply
    return run, reply.headers["puppet-verdict"] or ""


@shapes(ONE, EACH, NEWEST)
def test_triggered_run_upgrades_puppet_twitch(
    node: Machine, caller: Machine, managed: Site, per_connection: bool
) -> None:
    managed.hiera(node, NEXT_VERSION, per_connection=per_connection)
    run, ended = verdict(caller, node, ask(caller, node))
    assert ended == "changed"
    assert caller.curl(f"http://{node.name}:2023/version").body.strip() == NEXT_VERSION
    report = managed.server.reports(site.certname(node))[-1]
    assert (report["job_id"], report["status"], report["transaction_completed"]) == (run, "changed", True)
    assert node.sh("systemctl --failed --no-legend").stdout == ""
    assert not site.apply(node)


def test_upgrade_by_hand_during_a_run(node: Machine, caller: Machine, managed: Site) -> None:
    managed.server.manifest("module", HOLD)
    node.write(stub.CONFIG, "[access]\nanonymous = trigger status logs\n")
    asked = ask(caller, node)
    await_held(node, asked)
    follower = Following(node, "/puppet/runs/current/log?follow=true")
    follower.until("asked for ")
    package = f"/root/{site.build_deb(NEXT_VERSION).name}"
    node.copy(site.build_deb(NEXT_VERSION), package)
    node.sh(f"dpkg --install {package} && rm {package}")
    assert node.curl("/version").body.strip() == NEXT_VERSION
    assert node.curl("/puppet/twitch").status == 409
    assert follower.end() == 18  # cut, and not ended
    rest = follower.texts[-1].replace("# goes on: ", "")
    follower = Following(node, f"/puppet/runs/current/log{rest}", "-i")
    follower.until("HTTP/1.1 200 ")
    node.run("touch", GO)
    assert follower.end() == 0
    assert follower.texts[-1] == "# changed"
    _, ended = verdict(caller, node, asked)
    assert ended == "changed"
    assert node.exists(END)


@shapes(ONE, EACH)
def test_catalog_that_restarts_every_unit(
    node: Machine, caller: Machine, managed: Site, per_connection: bool
) -> None:
    managed.server.manifest("module", RESTART % LISTENERS[per_connection])
    _, ended = verdict(caller, node, ask(caller, node))
    assert ended == "changed"
    assert node.exists(END)
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_package_and_shape_change_in_one_run(node: Machine, caller: Machine, managed: Site) -> None:
    # The package's scripts restart the socket, with a listener running, before the module does.
    managed.hiera(node, NEXT_VERSION, per_connection=True)
    _, ended = verdict(caller, node, ask(caller, node))
    assert ended == "changed"
    assert caller.curl(f"http://{node.name}:2023/version").body.strip() == NEXT_VERSION
    assert node.sh("systemctl --failed --no-legend").stdout == ""


@shapes(ONE, EACH)
def test_triggered_run_removes_puppet_twitch(
    node: Machine, caller: Machine, managed: Site, per_connection: bool
) -> None:
    managed.hiera(node, ensure="absent", per_connection=per_connection)
    output, _ = ask(caller, node).communicate(timeout=CALLER_TIMEOUT_S)
    assert curl.parse(output.replace("\n", "\r\n")).status in (200, 202)
    node.wait(lambda: site.leftovers(node) == "")
    assert managed.server.reports(site.certname(node))[-1]["status"] == "changed"
