"""The shell scripts of the Puppet module, with commands that only record how they were called.

tests/e2e/test_module_life.py runs them on real nodes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "puppet-module" / "twitch" / "files"

# Puppet's provider `shell` runs a script as an argument of /bin/sh: dash on Debian, bash on EL.
SHELLS = {"dash": ["/bin/sh", "-c"], "bash": ["/bin/bash", "--posix", "-c"]}

# Records its arguments, and fails if FAILING names it: as `command` or as `command argument`.
STUB = """\
#!/bin/sh
echo "${0##*/} $*" >>"$CALLS"
case ",$FAILING," in *",${0##*/},"* | *",${0##*/} $1,"* | *",${0##*/} $2,"*) exit 8 ;; esac
"""

LISTENERS = "puppet-twitch.socket puppet-twitch[.@]*service"
CLOSE, OPEN = f"systemctl stop {LISTENERS}", "systemctl start puppet-twitch.socket"
IS_OPEN = "systemctl --quiet is-active puppet-twitch.socket"
HAND_OVER = "chgrp --silent --no-dereference grp /run/puppet-twitch/run.sock /run/puppet-twitch/runs"
HAND_OVER += " /var/lib/puppet-twitch/runs"
GROUPMOD, USERMOD = "groupmod --gid 22 grp", "usermod --uid 21 --home / usr"
NUMBERS = {"TWITCH_UID": "21", "TWITCH_GID": "22"}


class Shell:
    """Runs the scripts in one shell; `calls` are the commands of the last script, without getent."""

    def __init__(self, argv: list[str], directory: Path) -> None:
        self.argv = argv
        self.directory = directory
        self.calls: list[str] = []
        for command in ("systemctl", "getent", "groupmod", "usermod", "chgrp"):
            (directory / command).write_text(STUB)
            (directory / command).chmod(0o755)

    def run(self, script: str, *failing: str, **environment: str) -> int:
        """Run a script, with the commands in `failing` failing; return its exit status."""
        calls = self.directory / "calls"
        calls.write_text("")
        result = subprocess.run(
            [*self.argv, (SCRIPTS / f"{script}.sh").read_text()],
            env={
                "PATH": f"{self.directory}:/usr/bin:/bin",
                "CALLS": str(calls),
                "FAILING": ",".join(failing),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.calls = [line for line in calls.read_text().splitlines() if not line.startswith("getent ")]
        return result.returncode

    def change_user(self, *failing: str, **numbers: str) -> int:
        return self.run("change_user", *failing, TWITCH_USER="usr", TWITCH_GROUP="grp", **numbers)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(SHELLS[request.param], tmp_path)


def test_user_changes_while_the_port_is_closed(shell: Shell) -> None:
    assert shell.change_user(**NUMBERS) == 0
    assert shell.calls == [IS_OPEN, CLOSE, GROUPMOD, USERMOD, HAND_OVER, OPEN]


def test_user_without_numbers_gets_only_its_home_directory(shell: Shell) -> None:
    assert shell.change_user() == 0
    assert shell.calls == [IS_OPEN, CLOSE, "usermod --home / usr", HAND_OVER, OPEN]


@pytest.mark.parametrize(("missing", "change"), [("getent group", USERMOD), ("getent passwd", GROUPMOD)])
def test_user_or_group_that_does_not_exist_is_not_changed(shell: Shell, missing: str, change: str) -> None:
    assert shell.change_user(missing, **NUMBERS) == 0
    assert shell.calls == [IS_OPEN, CLOSE, change, HAND_OVER, OPEN]


@pytest.mark.parametrize(("failing", "changes"), [("groupmod", [GROUPMOD]), ("usermod", [GROUPMOD, USERMOD])])
def test_port_is_open_again_after_a_failed_change_of_user(
    shell: Shell, failing: str, changes: list[str]
) -> None:
    assert shell.change_user(failing, **NUMBERS) == 8
    assert shell.calls == [IS_OPEN, CLOSE, *changes, HAND_OVER, OPEN]


def test_port_that_was_closed_stays_closed_when_the_user_changes(shell: Shell) -> None:
    # As on a node without the package, where the units cannot be stopped and the files in /run do not exist.
    assert shell.change_user("systemctl is-active", "systemctl stop", "chgrp", **NUMBERS) == 0
    assert shell.calls == [IS_OPEN, CLOSE, GROUPMOD, USERMOD, HAND_OVER]


def test_run_socket_changes_its_group_while_the_port_is_closed(shell: Shell) -> None:
    assert shell.run("change_run_group", TWITCH_GROUP="grp") == 0
    restart = "systemctl restart puppet-twitch-run.socket puppet-twitch-log.socket"
    # chgrp follows where the node has records of runs: not on the machine that runs this test.
    calls = [call for call in shell.calls if not call.startswith("chgrp ")]
    assert calls == ["systemctl daemon-reload", CLOSE, restart, OPEN]


def test_socket_restart_records_its_settings(shell: Shell, tmp_path: Path) -> None:
    state = {"TWITCH_SETTINGS": "abc", "TWITCH_STATE_DIRECTORY": str(tmp_path / "state")}
    # The listener has not failed, so there may be nothing to reset.
    assert shell.run("restart_socket", "systemctl reset-failed", **state) == 0
    assert shell.calls == [
        "systemctl daemon-reload",
        "systemctl stop puppet-twitch.socket puppet-twitch.service",
        OPEN,
        "systemctl reset-failed puppet-twitch.service",
    ]
    assert (tmp_path / "state/socket").read_text() == "abc\n"


@pytest.mark.parametrize("command", ["daemon-reload", "stop", "start"])
def test_failed_socket_restart_records_nothing(shell: Shell, tmp_path: Path, command: str) -> None:
    state = {"TWITCH_SETTINGS": "abc", "TWITCH_STATE_DIRECTORY": str(tmp_path / "state")}
    assert shell.run("restart_socket", f"systemctl {command}", **state) == 8
    assert not (tmp_path / "state").exists()


def test_listener_stop_records_its_settings(shell: Shell, tmp_path: Path) -> None:
    state = {"TWITCH_SETTINGS": "abc", "TWITCH_STATE_DIRECTORY": str(tmp_path / "state")}
    assert shell.run("stop_listener", "systemctl reset-failed", **state) == 0
    stop = "systemctl stop puppet-twitch[.@]*service"
    reset = "systemctl reset-failed puppet-twitch.service"
    assert shell.calls == ["systemctl daemon-reload", stop, reset]  # and no socket
    assert (tmp_path / "state/listener").read_text() == "abc\n"


@pytest.mark.parametrize("command", ["daemon-reload", "stop"])
def test_failed_listener_stop_records_nothing(shell: Shell, tmp_path: Path, command: str) -> None:
    state = {"TWITCH_SETTINGS": "abc", "TWITCH_STATE_DIRECTORY": str(tmp_path / "state")}
    assert shell.run("stop_listener", f"systemctl {command}", **state) == 8
    assert not (tmp_path / "state").exists()


# ---- accounts of somebody else, which both the module and the packages refuse

SCRIPT_OF_PACKAGES = SCRIPTS.parents[2] / "packaging" / "refuse-account.sh"
OURS = "twitch:x:990:990:Puppet Twitch listener:/:/usr/sbin/nologin"
GETENT = """\
#!/bin/sh
case $1 in
passwd) line=$PASSWD ;;
group) line=$GROUP ;;
esac
test -z "$line" || echo "$line"
test -n "$line"
"""


@pytest.mark.parametrize(
    "script", [SCRIPTS / "refuse_account.sh", SCRIPT_OF_PACKAGES], ids=["module", "packages"]
)
@pytest.mark.parametrize(
    ("passwd", "group", "status"),
    [
        pytest.param("", "", 0, id="nobody"),
        pytest.param(OURS, "twitch:x:990:", 0, id="ours"),
        pytest.param(OURS, "twitch:x:990:twitch", 0, id="ours-as-a-member"),
        pytest.param("twitch:x:70000:5:made by LDAP:/srv:/sbin/nologin", "", 0, id="site"),
        pytest.param("twitch:*:990:990::/:/bin/false", "", 0, id="false"),
        pytest.param("twitch:x:1000:1000:Tess:/home/twitch:/bin/bash", "twitch:x:1000:", 1, id="person"),
        pytest.param("twitch:x:990:990::/:/bin/sh", "", 1, id="system-user-with-a-shell"),
        pytest.param("twitch:x:990:990::/:", "", 1, id="no-shell-is-sh"),
        pytest.param("twitch:x:990:990::/:/opt/nologin/bash", "", 1, id="directory-called-nologin"),
        pytest.param(OURS, "twitch:x:990:alice", 1, id="member"),
        pytest.param(OURS, "twitch:x:990:twitch,alice", 1, id="another-member"),
        pytest.param("", "twitch:x:990:alice", 1, id="group-without-the-user"),
    ],
)
def test_account_of_somebody_else_is_refused(
    shell: Shell, script: Path, passwd: str, group: str, status: int
) -> None:
    (shell.directory / "getent").write_text(GETENT)
    result = subprocess.run(
        [*shell.argv, script.read_text()],
        env={
            "PATH": f"{shell.directory}:/usr/bin:/bin",
            **{"PASSWD": passwd, "GROUP": group, "TWITCH_USER": "twitch", "TWITCH_GROUP": "twitch"},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == status, result.stdout
    assert (result.stdout != "") == (status == 1)
