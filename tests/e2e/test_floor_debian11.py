"""The oldest supported system, Debian 11 with systemd 247 and Python 3.9: unit tests, units, a trigger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import stub, systems
from tests.lab.install import SOURCE, install
from tests.lab.lab import Lab
from tests.lab.machine import Machine


@pytest.fixture(scope="module")
def node11(lab: Lab) -> Iterator[Machine]:
    machine = lab.boot("node11", image="debian11")
    install(machine)
    yield machine
    lab.discard(machine)


def test_oldest_supported_versions(node11: Machine) -> None:
    assert node11.run("python3", "--version").stdout.startswith("Python 3.9.")
    assert node11.sh("systemctl --version").stdout.startswith("systemd 247 ")


# Debian 11's Hypothesis is older than one of the checks that the tests switch off.
SHIM = """\
from hypothesis import HealthCheck
HealthCheck.function_scoped_fixture = HealthCheck.too_slow
"""


# Without the side of the operator, whose libraries Debian 11 does not have in the versions that it needs.
EVERY_MODULE = """\
import importlib, pathlib
for path in sorted(pathlib.Path("twitch").rglob("*.py")):
    if "fleet" not in path.parts and path.name != "__main__.py":
        importlib.import_module(".".join(path.with_suffix("").parts))
"""


def test_every_module_of_a_node_can_be_imported(node11: Machine) -> None:
    node11.sh(f"cd {SOURCE} && python3 -W error -c '{EVERY_MODULE}'")


def test_unit_tests_pass(node11: Machine) -> None:
    node11.write(f"{SOURCE}/floor.py", SHIM)
    systems.pass_unit_tests(node11, "-p", "floor")


def test_units_are_valid(node11: Machine) -> None:
    # PrivateIPC= is from 248; 247 warns that it does not know it, and goes on.
    result = node11.sh(
        f"systemd-analyze --man=no verify {SOURCE}/units/*.socket {SOURCE}/units/*.service 2>&1"
    )
    assert [
        line for line in result.stdout.splitlines() if "puppet-twitch" in line and "PrivateIPC" not in line
    ] == []


@pytest.fixture(params=["one listener", "per connection"])
def node(node11: Machine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    stub.clear(node11)
    stub.stub_puppet(node11, access=stub.WITH_REASONS)
    if request.param == "per connection":
        stub.per_connection(node11)
    yield node11
    stub.clear(node11)


def test_trigger_and_queue(node: Machine) -> None:
    assert node.curl("/puppet/status").body == "idle\n"
    run = stub.hold(node)
    assert stub.trigger(node).status == 409
    queued = stub.started(node, "?queue=true")
    stub.release(node)
    stub.end_of(node, queued)
    assert stub.stub_log(node) == stub.in_order(run, queued)
    assert node.curl(f"/puppet/runs/{run}").status == 200
    node.run("journalctl", "--sync")
    request, *_, verdict = str(node.curl(f"/puppet/runs/{run}/log?follow=true").body).splitlines()
    assert request.startswith("# anonymous at ")
    assert verdict.startswith("# not attempted: ")  # as the stub leaves nothing that Puppet would
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_the_listener_has_its_credentials_in_an_empty_run(node11: Machine) -> None:
    stub.clear(node11)
    stub.drop_in(node11, "puppet-twitch.service", "[Service]\nLoadCredential=key:/etc/hostname\n")
    assert node11.curl("/version").status == 200
    pid = stub.state(node11, "puppet-twitch.service", "MainPID")["MainPID"]
    look = f"nsenter --target {pid} --mount sh -c 'cd /run; ls; cat credentials/*/key'"
    hostname = node11.read("/etc/hostname").strip()
    assert node11.sh(look).stdout.split() == ["credentials", "puppet-twitch", "systemd", hostname]
    stub.clear(node11)


def test_uninstall_and_install_again(node11: Machine) -> None:
    stub.clear(node11)
    node11.sh(f"make --silent --directory={SOURCE} uninstall")
    assert node11.sh("find / -xdev -path /root -prune -o -name '*puppet-twitch*' -print").stdout == ""
    install(node11)
    assert node11.curl("/version").status == 200
