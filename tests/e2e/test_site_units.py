"""Other things on a node that stop or restart units, and what a site has set for all of its services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import configured_node, stub
from tests.e2e.systems import every_node
from tests.lab.install import install
from tests.lab.lab import Lab
from tests.lab.machine import Machine

# In the images, with needrestart and its dependencies (tests/lab/images.py).
PACKAGES = "/root/packages"
AFTER = "/root/after"
APT = "DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes"


@pytest.fixture
def tidy(node: Machine) -> Iterator[Machine]:
    stub.clear(node)
    node.run("rm", "-f", AFTER)
    yield node
    stub.clear(node)


@pytest.fixture
def tidy12(node12: Machine) -> Iterator[Machine]:
    stub.clear(node12)
    yield node12
    stub.clear(node12)


def catalog(*commands: str) -> str:
    """Return a manifest that runs shell commands in order, and then creates AFTER."""
    resources = [
        f"exec {{ 'command {n}': provider => shell, command => '{c}' }}" for n, c in enumerate(commands)
    ]
    return "\n-> ".join([*resources, f"file {{ '{AFTER}': content => 'x' }}"])


def waited_run(node: Machine, *commands: str) -> str:
    """Run a catalog of shell commands while a caller waits in the listener; return the run's id."""
    node.run("rm", "-f", AFTER)
    stub.real_puppet(node, catalog(*commands))
    reply = node.curl("/puppet/twitch?async=false", timeout_s=120)
    assert (reply.status, reply.headers["Puppet-Verdict"]) == (200, "changed"), reply
    assert (node.root / AFTER.lstrip("/")).exists()
    return str(reply.headers["Puppet-Run"])


def listener_pid(node: Machine) -> int:
    return int(node.run("systemctl", "show", "-P", "MainPID", "puppet-twitch.service").stdout)


# ---- needrestart

CONF = "/etc/needrestart/conf.d/puppet-twitch.conf"
REINSTALL = f"{APT} install --reinstall {PACKAGES}/libyaml-0-2_*.deb >/root/needrestart 2>&1"


@pytest.fixture(scope="module", params=["debian12", "debian13"])
def with_needrestart(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Machine]:
    """Return a machine of its own, where needrestart restarts services without asking."""
    machine = lab.boot("extra", image=request.param)
    install(machine)
    machine.sh(f"{APT} install $(ls {PACKAGES}/*.deb | grep -v libyaml)", timeout_s=180)
    machine.write("/etc/needrestart/conf.d/automatic.conf", "$nrconf{restart} = 'a';\n")
    yield machine
    lab.discard(machine)


def test_needrestart_leaves_a_run_and_its_listener_alone(with_needrestart: Machine) -> None:
    node = with_needrestart
    node.curl("/version")
    pid = listener_pid(node)
    waited_run(node, REINSTALL)  # apt calls needrestart, which finds Puppet with the old library
    assert "No services need to be restarted." in node.read("/root/needrestart")
    assert listener_pid(node) == pid
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_a_run_refuses_the_restart_of_a_tool_without_that_configuration(with_needrestart: Machine) -> None:
    node = with_needrestart
    node.run("rm", CONF)
    waited_run(node, REINSTALL)
    printed = node.read("/root/needrestart")
    assert "systemctl restart puppet-twitch-run@" in printed
    assert "Operation refused, unit puppet-twitch-run@" in printed
    assert node.sh("systemctl --failed --no-legend").stdout == ""


def test_a_run_survives_an_upgrade_of_systemd(with_needrestart: Machine) -> None:
    # The last test of its machine: systemd 257 removes control groups that it does not know, as the lab's.
    waited_run(with_needrestart, "systemctl daemon-reexec", "sleep 2")


# ---- other commands that stop or restart units

RESTART_ITSELF = 'systemctl restart $(sed "s,.*/,," /proc/self/cgroup)'


@every_node
def test_a_run_that_restarts_its_own_unit_goes_on(tidy: Machine) -> None:
    run = waited_run(tidy, f"{RESTART_ITSELF} 2>/root/refused; true")
    assert "Operation refused" in tidy.read("/root/refused")
    assert tidy.sh("systemctl --failed --no-legend").stdout == ""
    assert stub.end_of(tidy, run)["verdict"] == "changed"


def test_a_run_can_still_be_stopped(tidy: Machine) -> None:
    stub.real_puppet(tidy, stub.HOLD)
    run = stub.hold(tidy)
    tidy.run("systemctl", "stop", stub.unit_of(tidy, run))
    assert stub.end_of(tidy, run)["verdict"] == "interrupted"


@pytest.mark.parametrize("target", ["multi-user.target", "default"])
def test_a_run_that_isolates_a_target_goes_on(tidy: Machine, target: str) -> None:
    tidy.curl("/version")
    pid = listener_pid(tidy)
    waited_run(tidy, f"systemctl isolate {target}", "sleep 2")
    assert listener_pid(tidy) == pid
    for unit in ("puppet-twitch.socket", "puppet-twitch-run.socket"):
        assert stub.state(tidy, unit, "ActiveState") == {"ActiveState": "active"}


def test_a_waiting_run_goes_on_waiting_when_a_target_is_isolated(tidy: Machine) -> None:
    stub.real_puppet(tidy, stub.HOLD, access="anonymous = trigger status")
    first = stub.hold(tidy)
    second = stub.started(tidy, "?queue=true")
    tidy.run("systemctl", "isolate", "default")
    assert [bool(stub.unit_of(tidy, run)) for run in (first, second)] == [True, True]
    stub.release(tidy)
    assert [stub.end_of(tidy, run)["verdict"] for run in (first, second)] == ["changed", "changed"]


COMMANDS = {
    "units are changed": "systemctl daemon-reload",
    "a glob that matches runs": 'systemctl restart "puppet-twitch-run@*"; true',
    "the bus": "systemctl restart dbus.service",
    "sockets": "systemctl restart puppet-twitch-run.socket",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_run_survives(tidy: Machine, command: str) -> None:
    waited_run(tidy, command, "sleep 1")
    assert tidy.sh("systemctl --failed --no-legend").stdout == ""


# ---- settings of a site for all of its services, and for puppet.service

# What LXC and Incus write into a container, and PrivateNetwork= of older ones.
LXC = """\
[Service]
ProcSubset=all
ProtectProc=default
ProtectControlGroups=no
ProtectKernelTunables=no
NoNewPrivileges=no
PrivateNetwork=no
LoadCredential=
"""
LXC_FILE = "/run/systemd/system/service.d/zzz-lxc-service.conf"


@pytest.fixture
def in_lxc(tidy: Machine) -> Iterator[Machine]:
    tidy.write(LXC_FILE, LXC)
    tidy.run("systemctl", "daemon-reload")
    yield tidy
    tidy.sh(f"rm {LXC_FILE}; systemctl daemon-reload")


@every_node
def test_everything_works_with_the_settings_of_lxc(in_lxc: Machine) -> None:
    node = in_lxc
    waited_run(node, "true")
    assert node.curl("/puppet/status").status == 200
    assert stub.state(node, "puppet-twitch.service", "NoNewPrivileges") == {"NoNewPrivileges": "no"}
    done = configured_node.check(node)
    note = f"note  {LXC_FILE} replaces settings of puppet-twitch.service: ProcSubset=all ProtectProc=default"
    assert note in done.stdout
    stub.per_connection(node)
    waited_run(node, "true")
    assert f"{LXC_FILE} replaces settings of puppet-twitch@.service: " in configured_node.check(node).stdout


SIGNAL_JOURNALD = ("systemctl", "kill", "systemd-journald.service")
ASK = ("curl", "--silent", "--max-time", "90", "http://localhost:2023/puppet/status")
# What any user may log.
FORGED = (
    "setpriv --reuid=nobody --regid=nogroup --clear-groups logger -p daemon.err '{unit}: Failed to be forged'"
)


def cannot_start(node: Machine, unit: str, setting: str) -> None:
    stub.drop_in(node, unit, f"[Service]\n{setting}\n")
    if unit == "puppet-twitch@.service":
        stub.per_connection(node)


@every_node
@pytest.mark.parametrize(
    "unit", ["puppet-twitch.service", "puppet-twitch@.service", "puppet-twitch-run@.service"]
)
def test_check_shows_what_systemd_says_of_a_unit_that_cannot_start(tidy: Machine, unit: str) -> None:
    # As in a container that may not mount.
    cannot_start(tidy, unit, "BindPaths=/no/such/directory:/srv")
    # The client waits until the unit has failed: systemd starts nothing for a connection that was closed.
    client = tidy.popen(*ASK)
    try:
        # A process that says why it cannot start has ended before a late journald asks for its unit; then
        # the journal does not have the unit of that message. Under load this happens by itself.
        tidy.run(*SIGNAL_JOURNALD, "--signal=STOP")
        if unit == "puppet-twitch.service":
            restarts = f'"$(systemctl show -P NRestarts {unit})"'
            tidy.sh(f"timeout 60 sh -c 'until [ {restarts} -gt 1 ]; do sleep 0.2; done'", timeout_s=90)
        else:
            client.wait(90)
        tidy.run(*SIGNAL_JOURNALD, "--signal=CONT")
        tidy.sh(FORGED.format(unit=unit.replace("@.", "@1.")))
        said = f"check | grep ' {unit} .*systemd says: '"
        line = tidy.sh(
            f'timeout 60 sh -c "until puppet-twitch {said}; do sleep 0.2; done"', timeout_s=90
        ).stdout
    finally:
        tidy.run(*SIGNAL_JOURNALD, "--signal=CONT")
        client.terminate()
        client.communicate()
    assert "Failed to set up mount namespacing: " in line
    assert "tls.conf" not in line
    assert "forged" not in line


@every_node
@pytest.mark.parametrize("unit", ["puppet-twitch.service", "puppet-twitch@.service"])
def test_check_shows_the_step_at_which_a_sandboxed_process_cannot_start(tidy: Machine, unit: str) -> None:
    # systemd changes the directory in the sandbox, with the user of the unit.
    cannot_start(tidy, unit, "WorkingDirectory=/root")
    said = f"puppet-twitch check | grep ' {unit} .*systemd says: .*, status=200/CHDIR'"
    client = tidy.popen(*ASK)
    try:
        tidy.sh(f'timeout 60 sh -c "until {said}; do sleep 0.2; done"', timeout_s=90)
    finally:
        client.terminate()
        client.communicate()


SITE = """\
[Service]
Environment=http_proxy=http://proxy:3128 "MOTTO=two words"
LimitNOFILE=4096
UMask=0027
ExecStartPre=/bin/true
"""


@every_node
def test_a_run_can_have_the_settings_of_the_daemon(tidy: Machine) -> None:
    seen = "(umask; ulimit -n; echo $http_proxy) >/root/seen"
    waited_run(tidy, seen)
    assert "proxy" not in tidy.read("/root/seen")
    try:
        stub.drop_in(tidy, "puppet.service", SITE)
        text = (
            "note  /etc/systemd/system/puppet.service.d/test.conf gives puppet.service settings that puppet-"
            "twitch-run@.service lacks: Environment=http_proxy=… MOTTO=… LimitNOFILE=4096 UMask=0027\n"
        )
        assert text in configured_node.check(tidy).stdout
        stub.drop_in(tidy, "puppet-twitch-run@.service", SITE)
        assert "settings that" not in configured_node.check(tidy).stdout
        waited_run(tidy, seen)
        assert tidy.read("/root/seen") == "0027\n4096\nhttp://proxy:3128\n"
    finally:
        tidy.sh("rm -r /etc/systemd/system/puppet.service.d; systemctl daemon-reload")
