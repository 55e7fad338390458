"""Machines for the end-to-end tests: booted once per session, with Puppet Twitch installed.

These tests need `tests/lab/enter` and are skipped elsewhere, but in CI they must not go unnoticed.

`node12`, `node13` and `node` (each of both) are machines in any state. `clean_…` is the node as an
installation leaves it, before and after each test; `stub_…` also runs the stub in place of Puppet.
`agent…` is enrolled with the puppetserver; `tls_…` is too, and fails a test that makes the listener
complain. `site` is a fleet, with nodes of its own and a PuppetDB on the puppetserver.
`systems.py` has the marks of tests that run on Debian testing as well.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator

import pytest

from tests.e2e import pki, stub, systems
from tests.e2e.cut_off import CutOff
from tests.e2e.token_node import TokenNode, token_node
from tests.lab import namespaces
from tests.lab.errors import LabError
from tests.lab.fleet import Site, start_site
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import Netns
from tests.lab.server import PuppetServer, start_puppetserver

# The longest test may take 600 s: the unit tests on Debian 11.
TEST_TIMEOUT_S = 900


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose turn is on the other system, unless tests are named with their systems."""
    if not any("[" in argument for argument in config.args):
        items[:] = [item for item in items if systems.is_its_turn(item)]


@pytest.fixture(scope="session", autouse=True)
def descriptors() -> None:
    """Allow this process as many as the sockets of a flood need."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """Fail a test that takes too long, should one of its waits have no end of its own."""

    def fail(*_: object) -> None:
        raise LabError(f"the test was not over after {TEST_TIMEOUT_S} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TEST_TIMEOUT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


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


def used_fixtures(request: pytest.FixtureRequest) -> set[str]:
    """Return the names of all fixtures of the selected tests."""
    return {name for item in request.session.items for name in getattr(item, "fixturenames", ())}


@pytest.fixture(scope="session")
def starting_server(request: pytest.FixtureRequest, empty_lab: Lab) -> PuppetServer:
    """Return the puppetserver, which may not answer yet; with a PuppetDB if a selected test needs one."""
    return start_puppetserver(empty_lab, with_puppetdb="site" in used_fixtures(request))


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, empty_lab: Lab) -> Lab:
    """Return the lab, in which a puppetserver already starts if a selected test will need it."""
    # Its 20 s pass while other tests run. `agent` asks for it by name, once it is set up itself.
    if used_fixtures(request) & {"server", "agent", "site"}:
        request.getfixturevalue("starting_server")
    return empty_lab


@pytest.fixture(scope="session")
def server(starting_server: PuppetServer) -> PuppetServer:
    """Return the puppetserver, ready."""
    starting_server.await_ready()
    return starting_server


@pytest.fixture(scope="session")
def site(lab: Lab, starting_server: PuppetServer) -> Site:
    """Return a site with four nodes of its own, which have run Puppet once."""
    nodes = {"web1": "debian12", "web2": "debian13", "web3": systems.TESTING, "db1": "debian12"}
    if not systems.has_testing():
        nodes["web3"] = "debian13"
    return start_site(lab, nodes, server=starting_server)


@pytest.fixture
def three(request: pytest.FixtureRequest, site: Site) -> Iterator[Site]:
    """Return the site for tests that leave web3 alone: it is cut off if a selected test needs that."""
    # The two minutes until a node is lost pass while other tests run.
    if "cut_off" in used_fixtures(request):
        request.getfixturevalue("cut_off")
    yield site
    site.server.manifest("production", "")
    for name, node in site.nodes.items():
        if name != "web3":
            node.run("touch", stub.CUE)


@pytest.fixture(scope="session")
def cut_off(site: Site) -> Iterator[CutOff]:
    """Return a run of web3 that is followed, and whose node has lost its network in the middle."""
    cut_off = CutOff(site)
    yield cut_off
    cut_off.restore()


@pytest.fixture(scope="session")
def node12(lab: Lab) -> Machine:
    """Return a Debian 12 node (systemd 252, Puppet 7) with Puppet Twitch, known to no server."""
    return systems.boot_node(lab, "node12")


@pytest.fixture(scope="session")
def node13(lab: Lab) -> Machine:
    """Return a Debian 13 node (systemd 257, Puppet 8) with Puppet Twitch, known to no server."""
    return systems.boot_node(lab, "node13")


@pytest.fixture(scope="session")
def nodetesting(lab: Lab) -> Machine:
    """Return a node of Debian testing (OpenVox) with Puppet Twitch, known to no server."""
    return systems.boot_node(lab, "nodetesting")


@pytest.fixture(scope="session", params=systems.STABLE)
def node(request: pytest.FixtureRequest) -> Machine:
    """Return each node in turn; `systems.is_its_turn` decides which tests run on both."""
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


@pytest.fixture(scope="session")
def agenttesting(nodetesting: Machine, server: PuppetServer) -> Machine:
    """Return the node of Debian testing, enrolled with the puppetserver."""
    server.enrol(nodetesting)
    return nodetesting


@pytest.fixture(scope="session", params=systems.STABLE)
def agent(request: pytest.FixtureRequest) -> Machine:
    """Return each node in turn, enrolled with the puppetserver."""
    machine: Machine = request.getfixturevalue(request.param.replace("node", "agent"))
    return machine


# -- a node in a known state --------------------------------------------------------------------


@pytest.fixture
def clean_node12(node12: Machine) -> Iterator[Machine]:
    yield from _clean(node12)


@pytest.fixture
def clean_node(node: Machine) -> Iterator[Machine]:
    yield from _clean(node)


def _clean(node: Machine) -> Iterator[Machine]:
    stub.clear(node)
    yield node
    stub.clear(node)


@pytest.fixture
def stub_node12(clean_node12: Machine) -> Machine:
    stub.stub_puppet(clean_node12, access=stub.WITH_REASONS)
    return clean_node12


@pytest.fixture
def stub_node(clean_node: Machine) -> Machine:
    stub.stub_puppet(clean_node)
    return clean_node


@pytest.fixture(scope="module")
def shared_stub_node12(node12: Machine) -> Iterator[Machine]:
    """Return one node for all tests of a module, which must leave its state alone."""
    for node in _clean(node12):
        stub.stub_puppet(node)
        yield node


@pytest.fixture(scope="module")
def enabled12(node12: Machine) -> Iterator[None]:
    """Disable the sockets at boot after the last test of a module that uses `configured_node`."""
    yield
    node12.run("systemctl", "disable", "--quiet", "puppet-twitch.socket")


@pytest.fixture(scope="module")
def token_setup(node12: Machine) -> Iterator[TokenNode]:
    with token_node(node12) as setup:
        yield setup


@pytest.fixture
def tokens(token_setup: TokenNode) -> dict[str, str]:
    return token_setup.tokens


@pytest.fixture
def shared_token_node(token_setup: TokenNode) -> Machine:
    """Return the node with tokens for a test that leaves its state alone."""
    return token_setup.node


@pytest.fixture
def clean_token_node(token_setup: TokenNode) -> Iterator[Machine]:
    """Return the node with tokens as it was at first, and restore it afterwards."""
    token_setup.restore()
    yield token_setup.node
    token_setup.restore()


@pytest.fixture
def tls_node(agent: Machine) -> Iterator[Machine]:
    yield from pki.without_complaints(agent)


@pytest.fixture
def tls_node12(agent12: Machine) -> Iterator[Machine]:
    yield from pki.without_complaints(agent12)


@pytest.fixture
def other_node(tls_node: Machine, agent12: Machine, agent13: Machine) -> Machine:
    """Return the node that asks `tls_node`."""
    return agent13 if tls_node is agent12 else agent12


# -- clients that are no machines ---------------------------------------------------------------


@pytest.fixture(scope="session")
def elsewhere(lab: Lab) -> Netns:
    """Return a client with an IPv4 and an IPv6 address."""
    return lab.client("10.77.0.50", "fd77::50")


@pytest.fixture(scope="session")
def crowd(lab: Lab) -> Netns:
    """Return a client with sixteen IPv4 addresses, for floods."""
    return lab.client(*(f"10.77.0.{number}" for number in range(210, 226)))
