"""`include twitch` on two real nodes: set up, changed by Hiera, and removed."""

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
# The mark of tests for which one system is enough: what the module does there is the same on both.
on_debian12 = pytest.mark.parametrize("node", ["debian12"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def managed(server: PuppetServer) -> Site:
    return Site(server)


@pytest.fixture(scope="module")
def nodes(lab: Lab, managed: Site) -> Iterator[dict[str, Machine]]:
    """Return two machines without puppet-twitch; a test starts the first run of each."""
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


Curl = tuple[str, ...]

RUN_FILES = ("/run/puppet-twitch/run.sock", "/run/puppet-twitch/runs", "/var/lib/puppet-twitch/runs")


def sockets(node: Machine) -> list[int]:
    return [site.active(node, f"puppet-twitch{part}.socket") for part in ("", "-run")]


def test_first_run_sets_up_and_second_changes_nothing(node: Machine) -> None:
    assert site.leftovers(node) == ""
    assert site.apply(node)
    assert node.curl("/version").body.strip() == VERSION
    assert node.run("id", "--name", "--groups", "twitch").stdout.split() == ["twitch"]
    for socket in ("puppet-twitch.socket", "puppet-twitch-run.socket", "puppet-twitch-log.socket"):
        assert node.run("systemctl", "is-enabled", socket).stdout.strip() == "enabled"
    before = sockets(node)
    assert not site.apply(node)
    assert sockets(node) == before
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_another_node_can_trigger_a_run(node: Machine, neighbour: Machine) -> None:
    reply = neighbour.curl(f"http://{node.name}:2023/puppet/twitch?async=false", timeout_s=120)
    assert (reply.status, reply.body) == (200, "Puppet run complete")
    assert reply.headers["puppet-verdict"] == "unchanged"


def test_port_answers_after_a_reboot(node: Machine, neighbour: Machine) -> None:
    node.reboot()
    assert neighbour.curl(f"http://{node.name}:2023/version").status == 200


# Each change is made in Hiera, and applied by a run that is triggered over HTTP.
CHANGES = {
    "port": ({"port": 8023}, "http://{name}:8023"),
    # The node does not have the third address: FreeBind=.
    "addresses": (
        {"listen_addresses": ["{address}", "{address6}", "192.0.2.99"]},
        "http://[{address6}]:2023",
    ),
    "shape": ({"per_connection": True}, "http://{name}:2023"),
    "both back": ({"port": 80}, "http://{name}:80"),
    "defaults": ({}, "http://{name}:2023"),
}
# The user of the listener through which the caller waits, with one listener and per connection.
USERS: dict[str, dict[str, object]] = {
    "names": {"user": "svc", "group": "services"},
    "numbers": {"uid": 2123, "gid": 2124, "per_connection": True},
    "other numbers": {"uid": 2125, "gid": 2126, "per_connection": True},
}


def change(neighbour: Machine, base: str, after: str, asking: Curl = (), following: Curl = ()) -> None:
    """Trigger a run at `base` and wait for its end at `after`; it must change something."""
    reply = neighbour.curl(f"{base}/puppet/twitch?async=false", *asking, timeout_s=120)
    assert reply.status in (200, 202), reply
    url = f"{after}/puppet/runs/{reply.headers['puppet-run']}?wait=60"

    def verdict() -> str | None:
        # A listener that has to end answers waiting callers before the run has ended, perhaps repeatedly.
        reply = neighbour.curl(url, *following, *site.PATIENT, timeout_s=120)
        # curl retries after a 503 as well, during a change of the user (seen once), but prints that one, too.
        assert reply.status in (200, 202, 503), reply
        return reply.headers["puppet-verdict"]

    assert neighbour.wait(verdict) == "changed"


@on_debian12
def test_changes_are_applied_by_one_triggered_run(node: Machine, neighbour: Machine, managed: Site) -> None:
    own = {"name": node.name, "address": node.address, "address6": node.address6}
    base = "http://{name}:2023".format(**own)
    for name, (parameters, after) in CHANGES.items():
        run_socket = site.active(node, "puppet-twitch-run.socket")
        managed.hiera(node, **_filled(parameters, own))
        change(neighbour, base, after.format(**own))
        base = after.format(**own)
        assert site.active(node, "puppet-twitch-run.socket") == run_socket, name
        assert node.sh("systemctl --failed --no-legend").stdout == "", name
        assert not site.apply(node), name


@on_debian12
def test_user_changes_while_a_caller_waits(node: Machine, neighbour: Machine, managed: Site) -> None:
    base = f"http://{node.name}:2023"
    for name, parameters in USERS.items():
        managed.hiera(node, **parameters)
        change(neighbour, base, base)
        group = parameters.get("group", "twitch")
        assert node.run("stat", "--format=%U:%G", *RUN_FILES).stdout.split() == [f"root:{group}"] * 3, name
        if "uid" in parameters:
            numbers = node.sh("id -u twitch; id -g twitch").stdout.split()
            assert numbers == [str(parameters["uid"]), str(parameters["gid"])], name
        assert node.sh("systemctl --failed --no-legend").stdout == "", name
    assert not site.apply(node)
    managed.hiera(node)
    change(neighbour, base, base)


def _filled(value: object, own: dict[str, str]) -> dict[str, object]:
    def fill(part: object) -> object:
        if isinstance(part, str):
            return part.format(**own)
        return [fill(one) for one in part] if isinstance(part, list) else part

    assert isinstance(value, dict)
    return {name: fill(part) for name, part in value.items()}


@on_debian12
def test_allowed_addresses_refuse_others(node: Machine, neighbour: Machine, managed: Site) -> None:
    managed.hiera(node, allowed_addresses=["127.0.0.0/8", "::1"])
    assert site.apply(node)
    assert node.curl("/version").status == 200
    assert neighbour.curl(f"http://{node.name}:2023/version").status == 403
    managed.hiera(node, access={"anonymous": []})
    assert site.apply(node)
    assert neighbour.curl(f"http://{node.name}:2023/version").status == 200
    assert neighbour.curl(f"http://{node.name}:2023/puppet/twitch").status in (401, 403)


def test_sockets_are_not_restarted_without_need(node: Machine, managed: Site) -> None:
    before = sockets(node)
    textfile = "/srv/textfiles/puppet-twitch.prom"
    node.run("mkdir", "-p", "/srv/textfiles")
    managed.hiera(node, run_timeout="2h", puppet_path="/usr/bin/puppet", watch=True, watch_textfile=textfile)
    assert site.apply(node)
    node.wait(f"grep -q '^puppet_agent_last_run_success 1' {textfile}")
    assert node.run("systemctl", "is-enabled", "puppet-twitch-watch.path").stdout.strip() == "enabled"
    result = node.run("systemctl", "show", "--property=RuntimeMaxUSec", "puppet-twitch-run@x.service")
    assert result.stdout.strip() == "RuntimeMaxUSec=2h"
    assert sockets(node) == before


def test_drop_in_of_a_template_needs_no_daemon_reload(node: Machine) -> None:
    # The module relies on it: systemd reads the drop-ins of a template for each new instance.
    directory = "/etc/systemd/system/puppet-twitch@.service.d"
    assert not node.exists(f"{directory}/test.conf")
    node.write(f"{directory}/test.conf", "[Service]\nRuntimeMaxSec=4711\n")
    result = node.run("systemctl", "show", "--property=RuntimeMaxUSec", "puppet-twitch@test.service")
    assert result.stdout.strip() == "RuntimeMaxUSec=1h 18min 31s"
    node.run("rm", f"{directory}/test.conf")
    result = node.run("systemctl", "show", "--property=RuntimeMaxUSec", "puppet-twitch@test.service")
    assert result.stdout.strip() == "RuntimeMaxUSec=infinity"


@on_debian12
def test_tokens_and_tls_of_the_module_take_effect(node: Machine, neighbour: Machine, managed: Site) -> None:
    old, token = "known-to-its-holder-only", "the-one-that-replaces-it"
    old_line, line = ({"sha256": hashlib.sha256(text.encode()).hexdigest()} for text in (old, token))
    name, ssl = site.certname(node), "/var/lib/puppet/ssl"
    settings: dict[str, object] = {
        "access": {
            "anonymous": [],
            "token:deploy": ["trigger", "environment=*", "status"],
            "cert:*.example.com": ["noop"],
        },
        "tls": {
            "cert": f"{ssl}/certs/{name}.pem",
            "key": f"{ssl}/private_keys/{name}.pem",
            "ca": f"{ssl}/certs/ca.pem",
            "crl": f"{ssl}/crl.pem",
        },
    }
    # Two of one name, while the second replaces the first.
    managed.hiera(node, **settings, tokens={"deploy": [{**old_line, "expires": "2999-12-31"}, line]})
    plain, tls = f"http://{node.name}:2023", f"https://{node.name}:2023"
    credentials = ("--insecure", "--oauth2-bearer", token)
    change(neighbour, plain, tls, following=credentials)
    assert not site.apply(node)
    node.run("puppet-twitch", "check")
    assert neighbour.curl(f"{tls}/puppet/status", "--insecure").status == 401
    replaced = ("--insecure", "--oauth2-bearer", old)
    statuses = [neighbour.curl(f"{tls}/puppet/status", *each).status for each in (replaced, credentials)]
    assert statuses == [200, 200]
    managed.hiera(node, **settings, tokens={"deploy": line})
    change(neighbour, tls, tls, asking=credentials, following=credentials)
    statuses = [neighbour.curl(f"{tls}/puppet/status", *each).status for each in (replaced, credentials)]
    assert statuses == [401, 200]
    managed.hiera(node)
    change(neighbour, tls, plain, asking=credentials)
    assert neighbour.curl(f"http://{node.name}:2023/puppet/status").status == 200


def test_invalid_data_fails_the_run_and_changes_nothing(node: Machine, managed: Site) -> None:
    managed.hiera(node, port=65536)
    with pytest.raises(LabError, match="parameter 'port'"):
        site.apply(node)
    assert node.curl("/version").status == 200
    managed.hiera(node)


@on_debian12
def test_change_is_completed_after_a_failed_run(node: Machine, neighbour: Machine, managed: Site) -> None:
    before = sockets(node)
    managed.hiera(node, port=8023, package_ensure="9", package_source="puppet:///modules/site/none.deb")
    with pytest.raises(LabError, match=r"none\.deb"):
        site.apply(node)
    assert sockets(node) == before
    # The next run has nothing to write, and any daemon-reload closes the port.
    node.run("systemctl", "daemon-reload")
    managed.hiera(node, port=8023)
    assert site.apply(node)
    assert neighbour.curl(f"http://{node.name}:8023/version").status == 200


@on_debian12
def test_unmanaged_user_and_package_stay(node: Machine, managed: Site) -> None:
    # A reboot makes no difference.
    node.reboot()
    managed.hiera(node, port=8023, manage_user=False, manage_package=False)
    assert not site.apply(node)
    managed.hiera(node, ensure="absent", manage_package=False)
    assert site.apply(node)
    assert node.sh("systemctl is-active 'puppet-twitch*'", check=False).stdout == ""
    listen = node.run("systemctl", "show", "--property=Listen", "puppet-twitch.socket").stdout
    assert listen == "Listen=[::]:2023 (Stream)\n"
    assert "Puppet Twitch" in node.run("getent", "passwd", "twitch").stdout
    assert not site.apply(node)


# A client that has sent the beginning of a request.
CLIENT = """
import socket, time
connection = socket.create_connection(("localhost", 2023))
connection.send(b"GET")
time.sleep(99)
"""


def test_ensure_absent_leaves_nothing(node: Machine, managed: Site) -> None:
    managed.hiera(node, per_connection=True, watch=True)
    assert site.apply(node)
    # The sockets are stopped, and a listener is still running, until it is stopped as well.
    client = node.popen("python3", "-c", CLIENT)
    node.wait("systemctl is-active 'puppet-twitch@*'")
    node.run("systemctl", "kill", "--signal=STOP", "puppet-twitch@*")
    node.run("systemctl", "stop", "puppet-twitch.socket", "puppet-twitch-run.socket")
    managed.hiera(node, ensure="absent", port=8023, watch_textfile="/srv/textfiles/puppet-twitch.prom")
    assert site.apply(node)
    client.kill()
    assert site.leftovers(node) == ""
    assert not site.apply(node)
