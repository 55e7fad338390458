"""Installing on a node where the account or the port is somebody else's, and upgrades that close no port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import configured_node, site, stub
from tests.e2e.site import NEXT_VERSION, VERSION, build_deb
from tests.lab.install import SOURCE, copy_source
from tests.lab.lab import Lab
from tests.lab.machine import Completed, Machine

SOCKETS = ("puppet-twitch.socket", "puppet-twitch-run.socket")
MAKE = f"make --silent --directory={SOURCE}"


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Iterator[Machine]:
    """Return a machine with the source, the module and two versions of the package, none installed."""
    machine = lab.boot("extra", image="debian13")
    copy_source(machine)
    for version in (VERSION, NEXT_VERSION):
        machine.copy(build_deb(version), f"/root/{version}.deb")
    yield machine
    lab.discard(machine)


def apt(node: Machine, version: str, *, check: bool = True) -> Completed:
    return node.sh(f"apt-get install --yes --quiet /root/{version}.deb 2>&1", check=check)


def started(node: Machine) -> list[int]:
    """Return when each socket was started: another number is a restart."""
    return [site.active(node, unit) for unit in SOCKETS]


# ---- the account


PERSON = "useradd --create-home --shell /bin/bash --comment 'Tess Twitch' twitch"
# A service account of the site's own, to which somebody has added a colleague.
SHARED = "useradd --system --shell /usr/sbin/nologin twitch; usermod --append --groups twitch games"


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        pytest.param(PERSON, "the user twitch can log in", id="person"),
        pytest.param(SHARED, "the group twitch has other members", id="group-with-members"),
    ],
)
def test_an_account_of_somebody_else_is_refused(bare: Machine, account: str, reason: str) -> None:
    bare.sh(account)
    before = bare.sh("getent passwd twitch || getent group twitch").stdout
    try:
        for command in (f"apt-get install --yes --quiet /root/{VERSION}.deb", f"{MAKE} install"):
            done = bare.sh(f"{command} 2>&1", check=False)
            assert done.returncode != 0
            assert f"puppet-twitch is not installed: {reason}" in done.stdout
        applied = bare.sh(
            f"puppet apply --detailed-exitcodes --modulepath {SOURCE}/puppet-module -e"
            f" \"class {{ 'twitch': package_source => '/root/{VERSION}.deb' }}\" 2>&1",
            check=False,
        )
        assert applied.returncode in (4, 6)
        assert reason.removeprefix("the ") in applied.stdout.replace("exists and ", "")
        assert bare.sh("getent passwd twitch || getent group twitch").stdout == before
        assert not bare.exists("/usr/lib/puppet-twitch")
        assert not bare.exists("/etc/puppet-twitch")
    finally:
        bare.sh("dpkg --purge puppet-twitch; userdel --force --remove twitch; groupdel twitch", check=False)
        bare.sh("gpasswd --delete games twitch", check=False)


def test_a_site_may_choose_another_account_than_one_of_that_name(bare: Machine) -> None:
    bare.sh(PERSON)
    bare.sh("useradd --system --user-group --shell /usr/sbin/nologin other")
    stub.drop_in(bare, "puppet-twitch.service", "[Service]\nUser=other\nGroup=other\n")
    stub.drop_in(bare, "puppet-twitch-run.socket", "[Socket]\nSocketGroup=other\n")
    try:
        apt(bare, VERSION)
        assert bare.curl("/version").status == 200
    finally:
        bare.sh("dpkg --purge puppet-twitch; userdel other; userdel --remove twitch")


def test_an_account_of_the_sites_own_is_taken(bare: Machine) -> None:
    bare.sh("useradd --system --uid 4321 --shell /bin/false --comment 'made by LDAP' twitch")
    try:
        apt(bare, VERSION)
        assert bare.curl("/version").status == 200
        assert configured_node.check(bare).returncode == 0
    finally:
        bare.sh("dpkg --purge puppet-twitch; userdel twitch")


# ---- the port


def test_an_upgrade_of_the_package_keeps_the_port(bare: Machine) -> None:
    apt(bare, VERSION)
    assert bare.curl("/version").body.strip() == VERSION
    before = started(bare)
    apt(bare, NEXT_VERSION)
    assert started(bare) == before
    assert bare.curl("/version").body.strip() == NEXT_VERSION
    # A version whose unit has changed restarts that socket, and no other.
    changed = (
        f"cd /root && rm -rf changed && dpkg-deb --raw-extract {NEXT_VERSION}.deb changed &&"
        " sed -i 's/^Backlog=.*/Backlog=4000/' changed/usr/lib/systemd/system/puppet-twitch.socket &&"
        " sed -i 's/^Version: .*/&.1/' changed/DEBIAN/control && dpkg-deb --build changed changed.deb"
    )
    bare.sh(changed)
    apt(bare, "changed")
    after = started(bare)
    assert (after[0] > before[0], after[1]) == (True, before[1])
    assert stub.state(bare, "puppet-twitch.socket", "Backlog") == {"Backlog": "4000"}
    bare.sh("dpkg --purge puppet-twitch")


def test_installing_again_from_the_source_keeps_the_port(bare: Machine) -> None:
    bare.sh(f"{MAKE} install && systemctl start puppet-twitch.socket")
    assert bare.curl("/version").status == 200
    before = started(bare)
    bare.sh(f"{MAKE} install")
    assert started(bare) == before
    assert bare.curl("/version").status == 200
    assert bare.sh("systemctl --failed --no-legend; ls /run/*.sha256", check=False).stdout == ""
    bare.sh(f"sed -i 's/^Backlog=.*/Backlog=4000/' {SOURCE}/units/puppet-twitch.socket; {MAKE} install")
    assert started(bare)[0] > before[0]
    bare.sh(f"{MAKE} uninstall")
    copy_source(bare)


def test_a_package_over_make_install_leaves_no_old_file(bare: Machine) -> None:
    bare.sh(f"{MAKE} install && systemctl enable --quiet --now {SOCKETS[0]}")
    bare.sh("cd /usr/lib/puppet-twitch/twitch && cp errors.py of_another_version.py && touch listener/old.py")
    before = started(bare)
    apt(bare, VERSION)
    assert started(bare) == before
    assert bare.curl("/version").status == 200
    packaged = set(bare.sh("dpkg --listfiles puppet-twitch").stdout.splitlines())
    found = bare.sh(
        "find /usr /etc/puppet-twitch /etc/needrestart ! -name '*.pyc' ! -name __pycache__"
        " \\( -path '*puppet-twitch/*' -o -name '*puppet-twitch*' \\)"
    )
    assert set(found.stdout.splitlines()) - packaged == set()
    # This image is a slim one: dpkg leaves out /usr/share/doc.
    assert not bare.exists("/usr/share/doc/puppet-twitch/README.md")
    assert bare.exists(f"{stub.SHARE}/tls.conf")
    bare.sh("dpkg --purge puppet-twitch")


def test_package_of_the_fleet_needs_no_node_and_leaves_nothing(bare: Machine) -> None:
    deb = f"puppet-twitch-fleet_{VERSION}_all.deb"
    bare.copy(build_deb(VERSION).with_name(deb), f"/root/{deb}")
    everything = "find / -xdev -name '*puppet-twitch-fleet*' ! -path '/root/*' ! -path '/usr/src/*'"
    bare.sh(f"{MAKE} install-fleet DESTDIR=/ && touch /usr/lib/puppet-twitch-fleet/twitch/fleet/old.py")
    assert (
        "puppet-twitch-fleet was installed as a package" not in bare.sh(f"{MAKE} uninstall-fleet 2>&1").stdout
    )
    assert bare.sh(everything).stdout == ""
    # Over what was installed without a package. This machine has neither aiohttp nor a network.
    bare.sh(f"{MAKE} install-fleet DESTDIR=/ && touch /usr/lib/puppet-twitch-fleet/twitch/fleet/old.py")
    bare.sh(f"dpkg --force-depends --install /root/{deb}")
    assert bare.sh("puppet-twitch-fleet --version").stdout == f"puppet-twitch-fleet {VERSION}\n"
    lacking = bare.sh("puppet-twitch-fleet disable --help 2>&1", check=False)
    assert lacking.returncode == 1
    assert "the Python library aiohttp is missing: apt install python3-aiohttp" in lacking.stdout
    assert not bare.exists("/usr/lib/puppet-twitch-fleet/twitch/fleet/old.py")
    assert bare.exists("/usr/lib/puppet-twitch-fleet/twitch/fleet/__pycache__")
    refused = bare.sh(f"{MAKE} uninstall-fleet 2>&1", check=False)
    assert "puppet-twitch-fleet was installed as a package; remove that package" in refused.stdout
    bare.sh("dpkg --purge puppet-twitch-fleet")
    assert bare.sh(everything).stdout == ""


def test_check_names_the_process_that_has_the_port(bare: Machine) -> None:
    bare.sh(f"{MAKE} install; systemctl enable --quiet puppet-twitch.socket puppet-twitch-run.socket")
    # As a unit, because runuser would leave its child behind.
    bare.sh("systemd-run --quiet --unit=thief --property=User=nobody python3 -m http.server 2023")
    try:
        bare.wait("ss --no-header --listening --tcp --numeric sport = :2023 | grep -q .")
        bare.run("systemctl", "start", "puppet-twitch.socket", check=False)
        text = configured_node.check(bare).stdout
        assert "systemd says: Failed to create listening socket ([::]:2023): Address already in use" in text
        assert "(python3, user nobody) has opened 0.0.0.0:2023, not systemd" in text
    finally:
        bare.run("systemctl", "stop", "thief.service")
        bare.sh(f"{MAKE} uninstall")
