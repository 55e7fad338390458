"""A site that uses the Puppet module: an environment on the puppetserver, Hiera data, and built packages."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.machine import Machine
from tests.lab.server import ENVIRONMENTS, KEYS, PuppetServer

REPOSITORY = Path(__file__).resolve().parents[2]
BUILT_FROM = ("Makefile", "README.md", "NEWS.md", "LICENSE", "twitch", "units", "packaging")

# An environment of its own: the other tests' nodes are in production.
ENVIRONMENT = f"{ENVIRONMENTS}/module"
HIERA = """\
version: 5
defaults: {datadir: data, data_hash: yaml_data}
hierarchy:
  - {name: nodes, path: "%{trusted.certname}.yaml"}
  - {name: common, path: common.yaml}
"""

# Without the default cooldown of ten seconds between two runs.
COMMON = {"twitch::config": {"access": {"cooldown": 0}}}

VERSION = re.search(r'__version__ = "(.+)"', (REPOSITORY / "twitch/__init__.py").read_text())[1]  # type: ignore[index]
NEXT_VERSION = f"{VERSION}.1"

# After a 202 because the socket is being replaced, the caller retries until the new one is there.
PATIENT = ("--retry", "20", "--retry-all-errors", "--retry-delay", "1")


@functools.cache
def build_deb(version: str) -> Path:
    """Build the package of the working copy with this version; return the file."""
    # In the lab's own /run, which goes with the lab.
    directory = Path(tempfile.mkdtemp(prefix="puppet-twitch-deb-", dir="/run"))
    for name in BUILT_FROM:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, directory)
    init = directory / "twitch" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{VERSION}"', f'"{version}"'))
    command = ("make", "--directory", directory, "deb")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    if done.returncode:
        raise LabError(f"make deb exited {done.returncode}\n{done.stdout[-3000:]}")
    return directory / "dist" / f"puppet-twitch_{version}_all.deb"


class Site:
    """The environment `module`: our module, the packages as files, and Hiera data for each node."""

    def __init__(self, server: PuppetServer) -> None:
        self.server = server
        machine = server.machine
        machine.copy(REPOSITORY / "puppet-module/twitch", f"{ENVIRONMENT}/modules/twitch")
        for package in (build_deb(VERSION), build_deb(NEXT_VERSION)):
            machine.copy(package, f"{ENVIRONMENT}/modules/site/files/{package.name}")
        machine.write(f"{ENVIRONMENT}/hiera.yaml", HIERA)
        machine.write(f"{ENVIRONMENT}/data/common.yaml", json.dumps(COMMON))
        server.manifest("module", "include twitch")

    def source(self, version: str) -> dict[str, object]:
        """Return Hiera data for installing a version from the puppetserver."""
        url = f"puppet:///modules/site/{build_deb(version).name}"
        return {"twitch::package_source": url, "twitch::package_ensure": version}

    def hiera(self, node: Machine, version: str = VERSION, /, **parameters: object) -> None:
        """Set a node's Hiera data: the parameters of the class, and the version to install."""
        own = {f"twitch::{name}": value for name, value in parameters.items()}
        path = f"{ENVIRONMENT}/data/{certname(node)}.yaml"
        self.server.machine.write(path, json.dumps({**self.source(version), **own}))

    def enrol(self, node: Machine, suite: str) -> None:
        """Make a machine a node of this site; the suite makes the certificate's name unique."""
        node.write(
            "/etc/puppet/puppet.conf",
            f"[main]\nserver = {self.server.machine.name}\ncertname = {suite}-{node.name}\n"
            f"environment = module\n{KEYS}\n",
        )


def certname(node: Machine) -> str:
    match = re.search(r"^certname = (.+)$", node.read("/etc/puppet/puppet.conf"), re.MULTILINE)
    assert match
    return match[1]


def apply(node: Machine) -> bool:
    """Run the agent by hand; return whether it changed something. LabError if it failed."""
    command = ("puppet", "agent", "--onetime", "--no-daemonize", "--no-usecacheonfailure", "--verbose")
    done = node.run(*command, "--detailed-exitcodes", "--color=false", check=False, timeout_s=180)
    if done.returncode not in (0, 2):
        raise LabError(f"{node.name}: the run exited {done.returncode}\n{done.stdout}{done.stderr}")
    return done.returncode == 2


def active(node: Machine, unit: str) -> int:
    """Return when a unit became active, in microseconds since boot; a restart changes it."""
    result = node.run("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value", unit)
    return int(result.stdout)


def leftovers(node: Machine) -> str:
    """Return everything of puppet-twitch on a machine, one thing a line; empty if there is nothing."""
    script = r"""
        find / -xdev \( -path /proc -o -path /sys -o -path /var/cache/puppet -o -path /var/log \) -prune \
            -o \( -name '*puppet-twitch*' -o -path '/etc/systemd/system/*twitch*' \) -print
        ls -d /run/puppet-twitch
        getent passwd twitch
        getent group twitch
        systemctl list-units --all --type=service,socket --plain --no-legend '*twitch*'
        systemctl list-unit-files --no-legend '*twitch*'
        dpkg-query --show puppet-twitch
        ss --listening --no-header --numeric '( sport = :2023 )'
    """
    return os.linesep.join(line for line in node.sh(script, check=False).stdout.splitlines() if line)
