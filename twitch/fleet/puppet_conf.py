"""What the Puppet agent of this machine is configured with, if this machine has one.

An operator's machine need not have Puppet. What is read here only saves options: it is where the servers
are, and the certificate of the host, which only root can use.
"""

from __future__ import annotations

import configparser
import functools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from twitch.errors import UsageError

# The vendor's packages, and Debian's. The first one that exists is the one that is used.
CONF_DIRS = (Path("/etc/puppetlabs/puppet"), Path("/etc/puppet"))
CA_FILES = (Path("/etc/puppetlabs/puppet/ssl/certs/ca.pem"), Path("/var/lib/puppet/ssl/certs/ca.pem"))

PROGRAMS = ("puppet", "/opt/puppetlabs/bin/puppet")
PRINT_S = 60  # `puppet config print` takes 1 to 2 s; a small machine under load takes ten times that


class CertificateFiles(NamedTuple):
    """The files of a TLS client. Those that are None are not used."""

    ca: Optional[str] = None
    cert: Optional[str] = None
    key: Optional[str] = None


NO_FILES = CertificateFiles()


def settings(name: str, directories: Sequence[Path] = CONF_DIRS) -> dict[str, dict[str, str]]:
    """Return the sections of a file such as puppet.conf; {} if there is none, or it may not be read.

    Puppet reads such files in its own way: the comment is a whole line, a setting may stand twice, and one
    without a section belongs to [main].
    """
    for path in (directory / name for directory in directories):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        parser = configparser.ConfigParser(
            strict=False,
            interpolation=None,
            delimiters=("=",),
            comment_prefixes=("#", ";"),
            allow_no_value=True,
        )
        try:
            parser.read_string("[main]\n" + text)
        except configparser.Error as error:
            raise UsageError(f"{path}: {' '.join(str(error).split())}") from None
        return {
            section: {key: value.strip() for key, value in parser[section].items() if value}
            for section in parser.sections()
        }
    return {}


def host_certificate() -> CertificateFiles:
    """Return the certificate of this host if root asks, and of other users only the CA's."""
    if getattr(os, "geteuid", lambda: 1)() == 0:
        printed = _printed("localcacert", "hostcert", "hostprivkey")
        files = CertificateFiles(*(printed.get(name) for name in ("localcacert", "hostcert", "hostprivkey")))
        if all(path and os.path.exists(path) for path in files):
            return files
    return CertificateFiles(ca=next((str(path) for path in CA_FILES if os.path.exists(path)), None))


@functools.cache
def _printed(*names: str) -> dict[str, str]:
    for program in PROGRAMS:
        command = [program, "config", "print", "--section", "agent", *names]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PRINT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        lines = (line.partition(" = ") for line in done.stdout.splitlines())
        return {name: value for name, _, value in lines}
    return {}
