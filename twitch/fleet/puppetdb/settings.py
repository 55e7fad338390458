"""Where PuppetDB is, and with which certificate it is asked.

These files exist where PuppetDB is used, so nothing has to be configured again:

- ~/.puppetlabs/client-tools/puppetdb.conf and /etc/puppetlabs/client-tools/puppetdb.conf, JSON, which
  `puppet query` and Bolt read: {"puppetdb": {"server_urls": …, "cacert": …, "cert": …, "key": …}}. What the
  user's file says replaces what the system's says, as in `puppet query`.
- /etc/puppetlabs/puppet/puppetdb.conf or /etc/puppet/puppetdb.conf, of the puppetserver: server_urls.
"""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional
from urllib.parse import urlsplit

from twitch.errors import UsageError
from twitch.fleet import puppet_conf
from twitch.fleet.node import access
from twitch.fleet.node.access import Files
from twitch.fleet.options import NONE

USER_FILE = Path(".puppetlabs/client-tools/puppetdb.conf")  # below the home directory
SYSTEM_FILES = (
    Path("/etc/puppetlabs/client-tools/puppetdb.conf"),
    Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "PuppetLabs/client-tools/puppetdb.conf",
)


class Settings(NamedTuple):
    """A PuppetDB: its URLs, in the order in which they are tried, and the files of TLS."""

    urls: tuple[str, ...]
    source: str  # the option or file that named the URLs
    files: Files = Files()


def of_options(options: Namespace) -> Optional[Settings]:
    """Return the PuppetDB that the command line or a file names, as `find` does."""
    return find(options.puppetdb, own_files(options))


def own_files(options: Namespace) -> Files:
    """Return the files of TLS of the operator: of --cert, --key and --ca, and of ~/.config/puppet-twitch."""
    own = access.directory()
    cert, key, ca = options.cert, options.key, options.ca
    if not cert and os.path.isfile(own / access.CERT) and os.path.isfile(own / access.KEY):
        cert, key = own / access.CERT, own / access.KEY
    if not ca and os.path.isfile(own / access.CA):
        ca = own / access.CA
    ca, cert, key = (Path(path).expanduser() if path else None for path in (ca, cert, key))
    return Files(ca, cert, key)


def find(
    option: Optional[str],
    own: Files,
    *,
    home: Optional[Path] = None,
    system_files: Sequence[Path] = SYSTEM_FILES,
    conf_directories: Sequence[Path] = puppet_conf.CONF_DIRS,
) -> Optional[Settings]:
    """Return the PuppetDB to use; None for --puppetdb none, and if no file names one.

    `option` is the value of --puppetdb: URLs with commas between them, or none. The operator's own files
    replace those that the client tools name, and these the certificate of this host.
    """
    if option == NONE:
        return None
    tools = _client_tools([*reversed(system_files), (home or Path.home()) / USER_FILE])
    urls, source = _urls(option, tools, conf_directories)
    if not urls:
        return None
    ca, cert, key = (_path(*tools[name]) if name in tools else None for name in ("cacert", "cert", "key"))
    # Their modes are the affair of the tools that the file is for.
    named = Files(ca, cert, key, puppets=True)
    return Settings(urls, source, files_of_tls(urls, own, named))


def files_of_tls(urls: Sequence[str], *sources: Files) -> Files:
    """Return the files of TLS from the first source that has them, at last from this host.

    A certificate and its key always come from one source.
    """
    if all(url.startswith("http:") for url in urls):
        return Files()
    ca = ca_of(*sources)
    pair = next((files for files in sources if files.cert), None)
    if pair is None:
        pair = access.of_this_host() or Files()  # takes 1 to 2 s, so it is asked only if it is needed
    return Files(ca or pair.ca, pair.cert, pair.key, puppets=pair.puppets)


def ca_of(*sources: Files) -> Optional[Path]:
    """Return the certificates of Puppet's CA, from the first source that has them, or from this host."""
    named = (files.ca for files in sources if files.ca)
    # Not Path.is_file, which raises PermissionError: Debian's /var/lib/puppet is not for everyone.
    return next(named, None) or next(filter(os.path.isfile, access.CA_FILES), None)


def _path(value: object, source: Path) -> Path:
    if not isinstance(value, str):
        raise UsageError(f"{source}: cacert, cert and key are paths")
    return Path(value).expanduser()


def _urls(
    option: Optional[str], tools: dict[str, tuple[Any, Path]], conf_directories: Sequence[Path]
) -> tuple[tuple[str, ...], str]:
    if option is not None:
        return _checked(option.split(","), "--puppetdb"), "--puppetdb"
    if "server_urls" in tools:
        value, path = tools["server_urls"]
        return _checked(value.split(",") if isinstance(value, str) else value, str(path)), str(path)
    main = puppet_conf.settings("puppetdb.conf", conf_directories).get("main", {})
    if "server_urls" in main:
        return _checked(main["server_urls"].split(","), "puppetdb.conf"), "puppetdb.conf"
    if "server" in main:  # the form before PuppetDB 2.3, which its terminus still reads
        url = f"https://{main['server']}:{main.get('port', '8081')}"
        return _checked([url], "puppetdb.conf"), "puppetdb.conf"
    return (), ""


def _checked(urls: object, source: str) -> tuple[str, ...]:
    """Return the URLs without what follows the port; raise UsageError for what is not a URL."""
    if not isinstance(urls, list):
        raise UsageError(f"{source}: server_urls is a URL, or a list of URLs")
    checked = []
    for url in urls:
        parts = urlsplit(url.strip()) if isinstance(url, str) else urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise UsageError(f"{source}: {url!r} is not a URL such as https://puppetdb.example.com:8081")
        checked.append(url.strip().rstrip("/"))
    return tuple(checked)


def _client_tools(paths: Sequence[Path]) -> dict[str, tuple[Any, Path]]:
    """Return each setting of the client tools' files with its file; a later file replaces an earlier one."""
    settings: dict[str, tuple[Any, Path]] = {}
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise UsageError(f"{path}: not valid JSON: {error}") from None
        section = content.get("puppetdb") if isinstance(content, dict) else None
        if not isinstance(section, dict):
            raise UsageError(f'{path}: no object "puppetdb" in it, which has server_urls')
        settings.update((name, (value, path)) for name, value in section.items() if value)
    return settings
