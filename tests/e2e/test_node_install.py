"""`make install` and `make uninstall`, the permissions of what they make, and the journal's events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import stub
from tests.e2e.systems import every_node
from tests.lab.install import SOURCE, copy_source
from tests.lab.lab import Lab
from tests.lab.machine import Machine

MAKE = f"make --silent --directory={SOURCE}"

# All files, without those that the system itself writes when a user is added or removed.
FILES = (
    "find / -xdev -path /root -prune -o -path /var/log -prune -o -path /var/tmp -prune"
    " -o ! -name '*-' ! -name .pwd.lock -print"
)
ACCOUNTS = "cat /etc/passwd /etc/group"
UNITS = (
    "{ systemctl list-unit-files --no-legend 'puppet-twitch*';"
    " systemctl list-units --all --no-legend 'puppet-twitch*'; }"
)


@pytest.fixture
def bare(lab: Lab) -> Iterator[Machine]:
    """Return a machine with the source, and nothing of it installed."""
    machine = lab.boot("extra", image="debian13")
    copy_source(machine)
    yield machine
    lab.discard(machine)


def test_install_enables_and_starts_nothing(bare: Machine) -> None:
    bare.sh(f"{MAKE} install")
    assert bare.sh("systemctl is-enabled puppet-twitch.socket", check=False).stdout == "disabled\n"
    assert bare.sh("systemctl list-units --no-legend 'puppet-twitch*'").stdout == ""
    assert bare.sh("find /etc/systemd -name '*twitch*'").stdout == ""
    assert bare.sh("ss -Hltn sport = :2023").stdout == ""


def test_uninstall_leaves_nothing(bare: Machine) -> None:
    files, accounts = set(bare.sh(FILES).stdout.splitlines()), bare.sh(ACCOUNTS).stdout
    bare.sh(f"{MAKE} install && systemctl enable --now puppet-twitch.socket")
    stub.stub_puppet(bare, access="anonymous = trigger status disable")
    stub.end_of(bare, stub.started(bare))
    assert bare.curl("/puppet/disable?reason=x", "-X", "POST").status == 200
    stub.per_connection(bare)
    assert bare.curl("/version").status == 200
    removed = bare.sh(f"{MAKE} uninstall")
    # Its timer is gone as well, and Puppet stays as somebody has asked for.
    assert "Puppet stays disabled on this node; to enable it: puppet agent --enable" in removed.stderr
    assert bare.exists(stub.STUB_DISABLED)
    assert set(bare.sh(FILES).stdout.splitlines()) ^ files == set()
    assert bare.sh(ACCOUNTS).stdout == accounts
    # The unit of the last question may end later; systemd forgets it then (packaging/forget-runs.sh).
    bare.wait(f'test -z "$({UNITS})"')
    assert bare.sh("ls -d /run/*twitch*; ss -Hltn sport = :2023", check=False).stdout == ""


def test_run_goes_on_during_uninstall(bare: Machine) -> None:
    bare.sh(f"{MAKE} install && systemctl enable --now puppet-twitch.socket")
    stub.stub_puppet(bare)
    run = stub.hold(bare)
    bare.sh(f"{MAKE} uninstall")
    assert stub.stub_log(bare) == [f"began {run}"]
    stub.release(bare)
    bare.wait(lambda: stub.stub_log(bare) == stub.in_order(run))
    bare.wait(f'test -z "$({UNITS})"')


def accepted(node: Machine) -> int:
    """Return how many connections systemd has accepted since it loaded the socket's unit."""
    return int(stub.state(node, "puppet-twitch.socket", "NAccepted")["NAccepted"])


@every_node
def test_per_connection_and_back(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node)
    assert clean_node.curl("/version").status == 200
    assert stub.state(clean_node, "puppet-twitch.service", "ActiveState") == {"ActiveState": "active"}
    stub.per_connection(clean_node)
    assert stub.state(clean_node, "puppet-twitch.socket", "Accept") == {"Accept": "yes"}
    before = accepted(clean_node)
    reply = stub.trigger(clean_node, "?async=false")
    assert reply.headers["Puppet-Verdict"] == "not attempted"  # the stub leaves no report
    assert accepted(clean_node) == before + 1
    assert stub.state(clean_node, "puppet-twitch.service", "ActiveState") == {"ActiveState": "inactive"}
    stub.one_listener(clean_node)
    assert stub.state(clean_node, "puppet-twitch.socket", "Accept") == {"Accept": "no"}
    assert clean_node.curl("/version").status == 200
    assert stub.state(clean_node, "puppet-twitch.service", "ActiveState") == {"ActiveState": "active"}
    assert clean_node.sh("systemctl --failed --no-legend").stdout == ""


def test_permissions_below_run(clean_node: Machine) -> None:
    stub.real_puppet(clean_node, "")
    run = stub.started(clean_node)
    stub.end_of(clean_node, run)
    listed = clean_node.sh(f"find {stub.RUNTIME} -printf '%M %u:%g %P\\n'").stdout.splitlines()
    assert sorted(listed) == sorted(
        [
            "drwxr-xr-x root:root ",
            "srw-rw---- root:twitch log.sock",
            "srw-rw---- root:twitch run.sock",
            "-rw------- root:root concluding",
            "-rw------- root:root current.json",
            "-rw------- root:root lock",
            "-rw------- root:root settings.json",
            "drwxr-x--- root:twitch runs",
        ]
    )
    history = clean_node.sh(f"find {stub.HISTORY} -printf '%M %u:%g %P\\n'").stdout.splitlines()
    assert sorted(history) == sorted(
        [
            "drwxr-xr-x root:root ",
            "-rw------- root:root begun.json",
            "-rw------- root:root counts.json",
            "drwxr-x--- root:twitch runs",
            f"-rw-r--r-- root:root runs/{run}.json",
        ]
    )


ASKED, ENDED = "1d1c14c6b1f24ed5a0ea5d7d7d43ba6c", "5f0f1b6fd9ff4d7b8a1ea58b7f3bd0a4"


def test_journal_events_of_a_run(clean_node: Machine) -> None:
    stub.real_puppet(clean_node, "notify { 'a change': }\n", access="anonymous = trigger status tags")
    run = stub.started(clean_node, "?tags=notify")
    stub.end_of(clean_node, run)
    asked, ended = clean_node.journal("_UID=0", f"TWITCH_RUN={run}")
    fields = ("TWITCH_CALLER", "SYSLOG_IDENTIFIER", "MESSAGE_ID")
    assert [asked[name] for name in fields] == ["anonymous", "puppet-twitch", ASKED]
    assert [ended[name] for name in fields] == ["anonymous", "puppet-twitch", ENDED]
    assert asked["_SYSTEMD_INVOCATION_ID"] == run
    assert asked["_SYSTEMD_UNIT"].startswith("puppet-twitch-run@")
    # A journald that is late finds conclude gone, and adds neither (as in test_site_units.py).
    assert ended.get("_SYSTEMD_INVOCATION_ID", run) == run
    assert ended.get("_SYSTEMD_UNIT", asked["_SYSTEMD_UNIT"]) == asked["_SYSTEMD_UNIT"]
    assert (asked["TWITCH_ANSWER"], asked["TWITCH_OPTIONS"]) == ("started", "tags=notify")
    assert asked["TWITCH_CLIENT"] == ended["TWITCH_CLIENT"]
    assert asked["TWITCH_CLIENT"] in ("127.0.0.1", "::1")
    outcome = [ended[f"TWITCH_{name}"] for name in ("VERDICT", "EXIT_STATUS", "CHANGED", "FAILED")]
    assert outcome == ["changed", "2", "1", "0"]
    assert float(ended["TWITCH_DURATION_S"]) > 0


def test_journal_catalog_explains_our_events(clean_node: Machine) -> None:
    stub.stub_puppet(clean_node)
    run = stub.started(clean_node)
    stub.end_of(clean_node, run)
    explained = clean_node.sh(f"journalctl --sync; journalctl -x -o short TWITCH_RUN={run}").stdout
    for sentence in (
        "Somebody asked for a Puppet run",
        "The answer was: started.",
        "A Puppet run that was asked for over HTTP has ended",
        "Verdict: not attempted (exit status 0).",
    ):
        assert sentence in explained
    assert explained.count(f"journalctl _SYSTEMD_INVOCATION_ID={run}") == 2


def test_user_and_group_with_other_names(bare: Machine) -> None:
    # As the Puppet module's parameters `user` and `group` write it.
    bare.sh(f"{MAKE} install && useradd --system --user-group --shell /usr/sbin/nologin other")
    stub.drop_in(bare, "puppet-twitch.service", "[Service]\nUser=other\nGroup=other\n")
    stub.drop_in(bare, "puppet-twitch-run.socket", "[Socket]\nSocketGroup=other\n")
    names = "Environment=PUPPET_TWITCH_USER=other PUPPET_TWITCH_GROUP=other"
    stub.drop_in(bare, "puppet-twitch-run@.service", f"[Service]\n{names}\n")
    bare.sh("systemctl daemon-reload && systemctl start puppet-twitch.socket")
    stub.stub_puppet(bare)
    assert stub.end_of(bare, stub.started(bare))["state"] == "finished"
    assert bare.sh("stat -c %G /run/puppet-twitch/runs").stdout == "other\n"
