"""Puppet Twitch on a machine: this working copy, installed there as README says."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from .machine import Machine

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = "/root/puppet-twitch"

INSTALL = f"""\
set -e
make --directory={SOURCE} install
systemctl daemon-reload
systemd-sysusers
systemctl start puppet-twitch.socket
"""


def copy_source(machine: Machine) -> None:
    """Copy the working copy, without the files that git ignores, to /root/puppet-twitch."""
    # safe.directory: the clone may belong to another user, in CI for instance.
    git = ("git", "-c", "safe.directory=*", "-C", REPOSITORY)
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE,
        check=True,
    )
    # A renamed file of an earlier copy must not stay.
    machine.run("rm", "-rf", SOURCE)
    with tempfile.TemporaryFile() as archive:
        # --ignore-failed-read: git still lists a file that was just deleted.
        tar = ("tar", "--create", "--null", "--files-from=-", "--ignore-failed-read")
        subprocess.run(
            [*tar, "--owner=root:0", "--group=root:0"],
            input=listed.stdout,
            stdout=archive,
            cwd=REPOSITORY,
            check=True,
        )
        archive.seek(0)
        target = machine.root / SOURCE.lstrip("/")
        target.mkdir(parents=True)
        subprocess.run(["tar", "--extract", "--directory", target], stdin=archive, check=True)


def install(machine: Machine) -> None:
    """Copy the source, `make install`, and start the socket; LabError shows what went wrong."""
    copy_source(machine)
    machine.sh(INSTALL, timeout_s=180)
