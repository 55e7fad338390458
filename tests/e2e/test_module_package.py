"""The Debian package by hand: installed, upgraded, removed, and purged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import site, stub, systems
from tests.e2e.site import NEXT_VERSION, VERSION
from tests.e2e.systems import every_image
from tests.lab.lab import Lab
from tests.lab.machine import Machine

SOCKETS = ("puppet-twitch.socket", "puppet-twitch-run.socket", "puppet-twitch-log.socket")
CONF = "/etc/puppet-twitch/puppet-twitch.conf"


@pytest.fixture(params=systems.STABLE.values())
def node(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Machine]:
    """Return a machine with the package, new for each test: a boot takes less time than a clean-up."""
    booted = systems.boot(lab, "extra", request.param)
    install(booted, VERSION)
    yield booted
    lab.discard(booted)


def install(node: Machine, version: str) -> None:
    package = f"/root/{site.build_deb(version).name}"
    node.copy(site.build_deb(version), package)
    node.sh(f"apt-get install --yes {package} && rm {package}")


def enabled(node: Machine) -> list[str]:
    return node.run("systemctl", "is-enabled", *SOCKETS, check=False).stdout.split()


@every_image
def test_package_is_enabled_and_compiled_after_install(node: Machine) -> None:
    assert node.curl("/version").body.strip() == VERSION
    assert enabled(node) == ["enabled"] * 3
    # Compiled by the node's own Python, because a cold start is part of the answer's time.
    assert node.exists("/usr/lib/puppet-twitch/twitch/__pycache__")
    assert node.sh("systemctl --failed --no-legend").stdout == ""
    node.reboot()
    assert node.curl("/version").status == 200


@every_image
def test_upgrade_keeps_the_operators_changes(node: Machine) -> None:
    node.run("sed", "--in-place", "s/^#anonymous = .*/anonymous = status/", CONF)
    node.run("systemctl", "disable", "--now", *SOCKETS)
    install(node, NEXT_VERSION)
    assert enabled(node) == ["disabled"] * 3
    assert not node.exists("/run/puppet-twitch/run.sock")
    node.run("systemctl", "start", "puppet-twitch.socket")
    assert node.curl("/version").body.strip() == NEXT_VERSION
    assert node.curl("/puppet/twitch").status == 401


def test_remove_keeps_the_configuration_and_purge_nothing(node: Machine) -> None:
    node.curl("/puppet/status")
    node.write("/etc/systemd/system/puppet-twitch.socket.d/override.conf", "[Socket]\nBacklog=16\n")
    node.write("/etc/puppet-twitch/tokens", "")
    node.run("apt-get", "remove", "--yes", "puppet-twitch")
    assert node.exists(CONF)
    assert node.sh("ss --listening --no-header --numeric '( sport = :2023 )'").stdout == ""
    node.run("apt-get", "purge", "--yes", "puppet-twitch")
    # The unit of the question for the status may end later; systemd forgets it then (forget-runs.sh).
    node.wait(lambda: site.leftovers(node) == "")
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_remove_stops_a_watch_that_is_under_way(node: Machine) -> None:
    # Without its files it would fail, and write the textfile again that the removal has removed.
    stub.drop_in(node, "puppet-twitch-watch.service", "[Service]\nExecStart=\nExecStart=/bin/sleep 1000\n")
    node.run("systemctl", "start", "--no-block", "puppet-twitch-watch.service")
    node.wait("pgrep -x sleep")
    node.run("apt-get", "remove", "--yes", "puppet-twitch")
    assert node.sh("pgrep -x sleep", check=False).stdout == ""
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_remove_waits_for_the_unit_of_a_run(node: Machine) -> None:
    stub.stub_puppet(node)
    run = stub.hold(node)
    unit = stub.unit_of(node, run)
    # Conclude takes this lock last; the test holds it until the file exists.
    lock = "touch /root/locked; until test -e /root/concluded; do sleep 0.1; done"
    node.run("systemd-run", "--quiet", "flock", "/run/puppet-twitch/lock", "sh", "-c", lock)
    node.wait("test -e /root/locked")
    stub.release(node)
    node.wait(f"systemctl show {unit} | grep -qx SubState=stop-post")
    node.run("apt-get", "remove", "--yes", "puppet-twitch")
    node.run("touch", "/root/concluded")
    node.wait("test -z \"$(systemctl list-units --all --no-legend 'puppet-twitch-run@*' 'run-*.service')\"")
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_purge_keeps_another_user_of_that_name(node: Machine) -> None:
    node.run("usermod", "--comment", "Tess Twitch", "twitch")
    node.run("apt-get", "purge", "--yes", "puppet-twitch")
    assert "Tess Twitch" in node.run("getent", "passwd", "twitch").stdout
