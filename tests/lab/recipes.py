"""The recipes of the machines' root file systems: a Debian suite, packages, and hooks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from .compiled import QUICK_PUPPET, QUICK_SERVERS

# Files that no test needs. The directories of manual pages stay, because OpenJDK's installation
# puts links into them and fails without (bugs.debian.org/863199).
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*.gz", "/usr/share/locale/*", "/usr/share/info/*")

BASE = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "procps", "curl", "ca-certificates", "make"),
    *("python3", "python3-systemd", "python3-h11", "python3-yaml"),
)
# A puppetserver with PuppetDB and PostgreSQL, and what puppet-twitch-fleet and operators need beside them.
SERVERS = (
    *("puppetserver", "puppetdb", "puppet-terminus-puppetdb", "postgresql"),
    *("openssl", "python3-aiohttp", "python3-rich", "ansible-core"),
)

# Tests start Puppet themselves, and apt's timers fail without a network.
QUIET = (
    'systemctl --root="$1" --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer',
    'for unit in puppet puppetserver; do if test -e "$1/lib/systemd/system/$unit.service";'
    ' then systemctl --root="$1" --quiet disable $unit.service; fi; done',
)
QUIET_SERVERS = (*QUIET, 'systemctl --root="$1" --quiet disable puppetdb.service postgresql.service')

# needrestart and its dependencies, and a library that Puppet maps: for tests that install them during a run.
# Not installed in the image, because needrestart would look at every package that other tests install.
PACKAGES = (
    'export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; mkdir "$1/root/packages"; cd "$1/root/packages";'
    " apt-get install --yes --download-only needrestart >&2; mv ../../var/cache/apt/archives/*.deb .;"
    " apt-get download libyaml-0-2 >&2",
)

# OpenVox and Python as we use them. A day on which they do not work is one on which testing has no image.
WORKING = (
    'chroot "$1" puppet --version >&2',
    """chroot "$1" python3 -c 'import h11, systemd.daemon, yaml' >&2""",
)


@dataclass(frozen=True)
class Recipe:
    """The content of an image; a changed recipe is another image."""

    suite: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...] = QUIET
    """Shell commands run at the end of the build, with the image's directory as $1."""

    @property
    def moving(self) -> bool:
        """Whether the suite changes from day to day, so that there may be days without an image."""
        return self.suite == "testing"

    def digest(self) -> str:
        """Return 12 hexadecimal digits of a hash of this recipe."""
        text = json.dumps([asdict(self), LEFT_OUT])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


RECIPES = {
    "debian11": Recipe("bullseye", (*BASE, "python3-pytest", "python3-hypothesis")),
    "debian12": Recipe("bookworm", (*BASE, "puppet-agent"), QUIET + PACKAGES + QUICK_PUPPET),
    "debian13": Recipe("trixie", (*BASE, "puppet-agent"), QUIET + PACKAGES + QUICK_PUPPET),
    # With the peer that `make bench` measures beside us.
    "debian12-bench": Recipe("bookworm", (*BASE, "puppet-agent", "webhook", "strace")),
    "debian13-servers": Recipe("trixie", (*BASE, "puppet-agent", *SERVERS), QUIET_SERVERS + QUICK_SERVERS),
    "debiantesting": Recipe(
        "testing",
        (*BASE, "openvox-agent", "python3-pytest", "python3-hypothesis"),
        QUIET + WORKING + QUICK_PUPPET,
    ),
}
# The images that the tests boot, the slowest to build first.
USUAL = ("debian13-servers", "debian13", "debiantesting", "debian12", "debian11")
