"""Machines for the end-to-end tests: booted once per session, with Puppet Twitch installed.

These tests need `tests/lab/enter` and are skipped elsewhere, but in CI they must not go unnoticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import namespaces
from tests.lab.install import install
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer, start_puppetserver

IMAGES = {"node12": "debian12", "node13": "debian13"}


@pytest.fixture(scope="session")
def empty_lab() -> Iterator[Lab]:
    """Return the lab as it is at first."""
    if not namespaces.inside():
        why = "needs machines: run it as root under tests/lab/enter"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def starting_server(empty_lab: Lab) -> PuppetServer:
    """Return the puppetserver, which may not answer yet."""
    return start_puppetserver(empty_lab)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, empty_lab: Lab) -> Lab:
    """Return the lab, in which a puppetserver already starts if a selected test will need it."""
    # Its 20 s pass while other tests run. `agent` asks for it by name, once it is set up itself.
    used = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    if used & {"server", "agent"}:
        request.getfixturevalue("starting_server")
    return empty_lab


@pytest.fixture(scope="session")
def server(starting_server: PuppetServer) -> PuppetServer:
    """Return the puppetserver, ready."""
    starting_server.await_ready()
    return starting_server


@pytest.fixture(scope="session")
def node12(lab: Lab) -> Machine:
    """Return a Debian 12 node (systemd 252, Puppet 7) with Puppet Twitch, known to no server."""
    return _node(lab, "node12")


@pytest.fixture(scope="session")
def node13(lab: Lab) -> Machine:
    """Return a Debian 13 node (systemd 257, Puppet 8) with Puppet Twitch, known to no server."""
    return _node(lab, "node13")


@pytest.fixture(scope="session", params=IMAGES)
def node(request: pytest.FixtureRequest) -> Machine:
    """Return each node in turn."""
    machine: Machine = request.getfixturevalue(request.param)
    return machine


@pytest.fixture(scope="session")
def agent12(node12: Machine, server: PuppetServer) -> Machine:
    """Return the Debian 12 node, enrolled with the puppetserver."""
    server.enrol(node12)
    return node12


@pytest.fixture(scope="session")
def agent13(node13: Machine, server: PuppetServer) -> Machine:
    """Return the Debian 13 node, enrolled with the puppetserver."""
    server.enrol(node13)
    return node13


@pytest.fixture(scope="session", params=IMAGES)
def agent(request: pytest.FixtureRequest) -> Machine:
    """Return each node in turn, enrolled with the puppetserver."""
    machine: Machine = request.getfixturevalue(request.param.replace("node", "agent"))
    return machine


def _node(lab: Lab, name: str) -> Machine:
    machine = lab.boot(name, image=IMAGES[name])
    install(machine)
    return machine
