"""Where the puppetservers are: in the options, or in puppet.conf of this machine."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional
from urllib.parse import urlsplit

from twitch.errors import UsageError
from twitch.fleet import puppet_conf
from twitch.fleet.node.access import Files
from twitch.fleet.options import NONE
from twitch.fleet.puppetdb.settings import ca_of, own_files

PORT = "8140"
DEFAULT_SERVER = "puppet"  # Puppet's own, where puppet.conf names none


class Settings(NamedTuple):
    """The puppetservers whose queues are watched, and the files of TLS."""

    urls: tuple[str, ...]
    source: str  # the option or file that named the URLs
    files: Files = Files()


def of_options(options: Namespace) -> Settings:
    """Return the puppetservers that the command line or puppet.conf names; perhaps none."""
    urls, source = find(options.puppetserver)
    # Everyone may ask for the status, so a certificate is not needed; the CA is.
    ca = ca_of(own_files(options)) if any(url.startswith("https:") for url in urls) else None
    return Settings(urls, source, Files(ca=ca))


def find(
    options: Optional[Sequence[str]], conf_directories: Sequence[Path] = puppet_conf.CONF_DIRS
) -> tuple[tuple[str, ...], str]:
    """Return the URLs of the puppetservers, and what named them.

    `options` are the values of --puppetserver, or None. Of puppet.conf, server_list holds over server, and
    [agent] over [main], as for the agent.
    """
    if options:
        if NONE in options:
            return (), "--puppetserver none"
        return tuple(_checked(url) for url in options), "--puppetserver"
    sections = puppet_conf.settings("puppet.conf", conf_directories)
    if not sections:
        return (), ""
    settings = {**sections.get("main", {}), **sections.get("agent", {})}
    default_port = settings.get("serverport") or settings.get("masterport") or PORT
    servers = settings.get("server_list") or settings.get("server") or DEFAULT_SERVER
    names = (name.strip().partition(":") for name in servers.split(",") if name.strip())
    return tuple(f"https://{name}:{port or default_port}" for name, _, port in names), "puppet.conf"


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise UsageError(f"--puppetserver {url!r} is not a URL such as https://puppet.example.com:8140")
    return url.rstrip("/")
