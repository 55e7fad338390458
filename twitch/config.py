"""`/etc/puppet-twitch/puppet-twitch.conf`: the sections and keys that it may have, and no others.

Every key has a default, and the file may consist of comments. A fault is one line that names file,
section, key and what is allowed. An invalid value never falls back to a default, because the default
may allow more than the operator meant to write. For the same reason a file that is missing or empty is
a fault: an editor leaves it so for a moment, and a full disk for good.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional, Union

from twitch import durations, texts
from twitch.errors import ConfigError
from twitch.record_files import KEEP_BYTES, KEEP_RUNS

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    Network = Union[IPv4Network, IPv6Network]

CONFIG_FILE = "/etc/puppet-twitch/puppet-twitch.conf"
TOKENS_FILE = "/etc/puppet-twitch/tokens"

# The end of the error for a file that is missing or empty.
RESTORE = "puppet-twitch check says how to restore it"

# Each grant, and what a caller may do with it. `environment` takes a pattern: environment=PATTERN.
# Where a grant is demanded: listener/access.py (runs), listener/api (the rest).
GRANTS = {
    "trigger": "trigger runs",
    "noop": "trigger noop runs",
    "tags": "choose tags",
    "environment": "choose the environments",
    "status": "read status and runs",
    "logs": "read the logs of runs and Puppet's error texts",
    "cancel": "cancel runs",
    "metrics": "read metrics",
    "disable": "disable and enable Puppet",
}
ENVIRONMENT = "environment="
ENVIRONMENT_GRANT = rf"{ENVIRONMENT}[A-Za-z0-9_*]+"
GRANTS_ALLOWED = "any of: " + " ".join(
    f"{ENVIRONMENT}PATTERN" if name == "environment" else name for name in GRANTS
)

# Certnames are lower case (Puppet refuses others); the name of a token is as `token NAME` takes it.
CALLER = r"token:[A-Za-z0-9_.*-]{1,64}|cert:[a-z0-9_.*-]{1,253}"

ANONYMOUS_GRANTS = ("trigger", "status")
MAPPED_PREFIX = 96  # ::ffff:0:0/96 holds the IPv4 addresses (RFC 4291 section 2.5.5.2)
EVERYWHERE = "0.0.0.0/0 ::/0"  # where `from` is missing

# For anonymous callers only: a run that is wanted within ten seconds after the last one is either a loop
# or an attack. Callers with a name are trusted.
COOLDOWN_S = 10
COOLDOWN_MAX_S = 24 * 3600

# The status and the list of runs read the first line of each record: of 1,000 in 0.1 s.
KEEP_RUNS_MAX = 1000
# At least ten records of the longest ones.
SIZE_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}
KEEP_BYTES_MIN, KEEP_BYTES_MAX = 1024**2, 1024**3
# How long Puppet stays disabled if a caller does not say, and at most; root enforces the latter.
DISABLE_S = 24 * 3600
DISABLE_MAX_S = 30 * 24 * 3600
DISABLE_MAX_MAX_S = 3650 * 24 * 3600


class Config(NamedTuple):
    """The whole configuration; every value is valid."""

    networks: Optional[tuple[Network, ...]] = None  # None: requests are accepted from everywhere
    grants: Mapping[str, tuple[str, ...]] = {"anonymous": ANONYMOUS_GRANTS}  # caller -> grants
    cooldown_s: int = COOLDOWN_S
    plaintext_tokens: bool = False
    tls: bool = False
    tls_client: str = "optional"  # or "required"
    tls_ca: Optional[str] = None  # absolute path; None: the usual place, see listener/tls.py
    tls_crl: Optional[str] = None  # the same
    tls_revocation: str = "chain"  # or "leaf" or "no", as Puppet's certificate_revocation
    command: str = "agent"  # or "apply"
    manifest: Optional[str] = None  # absolute path; with "apply" only
    puppet_path: Optional[str] = None  # absolute path; None: look in the usual places
    keep_runs: int = KEEP_RUNS
    keep_bytes: int = KEEP_BYTES
    disable_s: int = DISABLE_S
    disable_max_s: int = DISABLE_MAX_S


class _Parser(configparser.ConfigParser):
    # configparser ignores text after `]`: `[access] anonymous =` on one line would open the section and
    # drop the setting.
    SECTCRE = re.compile(r"\[(?P<header>[^]]+)\]\Z")
    optionxform = str  # type: ignore[assignment]  # names of callers are case-sensitive


def load(path: str = CONFIG_FILE) -> Config:
    """Return the configuration in a file; raises `ConfigError`, also for a missing and for an empty file."""
    text = _read(path)
    if not text.strip():
        raise ConfigError(f"{path}: is empty; {RESTORE}")
    return _parse(path, text)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError as error:
        missing = "is a link to a file that does not exist" if os.path.islink(path) else "does not exist"
        raise ConfigError(f"{path}: {missing}; {RESTORE}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error


def _parse(path: str, text: str) -> Config:
    parser = _Parser(
        delimiters=("=",),  # names of callers contain colons
        comment_prefixes=("#", ";"),
        interpolation=None,
        default_section="",  # no section can have this name; [DEFAULT] would leak its keys into every other
        empty_lines_in_values=False,
    )
    try:
        parser.read_string(text)
        return _check(path, parser)
    except configparser.Error as error:
        raise ConfigError(texts.one_line(f"{path}: {_one_line(error)}")) from error
    except ConfigError as error:
        raise ConfigError(texts.one_line(str(error))) from error


def _check(path: str, parser: configparser.ConfigParser) -> Config:
    values: dict[str, Any] = {}
    grants: dict[str, tuple[str, ...]] = {"anonymous": ANONYMOUS_GRANTS}
    for section in parser.sections():
        if section not in KEYS:
            raise ConfigError(f"{path}: [{section}]: unknown section; allowed: {SECTIONS}")
        for name, text in parser.items(section):
            where = f"{path}: [{section}] {name}"
            if name in KEYS[section]:
                key = KEYS[section][name]
                values[key.field] = key.read(where, text)
            elif section == "access" and (name == "anonymous" or re.fullmatch(CALLER, name)):
                grants[name] = _grants(where, text)
            else:
                callers = CALLER_KEYS if section == "access" else ()
                raise ConfigError(f"{where}: unknown key; allowed: {', '.join([*KEYS[section], *callers])}")
    if "disable_max_s" in values:
        values.setdefault("disable_s", min(DISABLE_S, values["disable_max_s"]))
    config = Config(grants=grants, **values)
    if config.command == "apply" and config.manifest is None:
        raise ConfigError(f"{path}: [puppet] command = apply needs a manifest = /absolute/path")
    if config.manifest is not None and config.command != "apply":
        raise ConfigError(f"{path}: [puppet] manifest is only for command = apply")
    if config.disable_s > config.disable_max_s:
        longest = durations.shown(config.disable_max_s)
        raise ConfigError(f"{path}: [disable] default must be at most max, which is {longest}")
    return config


def _networks(where: str, value: str) -> tuple[Network, ...]:
    import ipaddress  # 1.5 ms, which root's side needs for this key alone

    networks = []
    for word in value.split():
        try:
            if "%" in word:  # ipaddress accepts an interface, and ignores it in comparisons
                raise ValueError(f"{word!r} names an interface")
            network = ipaddress.ip_network(word)
            # ::ffff:10.0.0.0/104, for instance: an IPv4 client is compared as IPv4, on a dual-stack socket as
            # well (access.normalise).
            mapped = getattr(network.network_address, "ipv4_mapped", None)
            if mapped is not None and network.prefixlen >= MAPPED_PREFIX:
                network = ipaddress.ip_network((mapped, network.prefixlen - MAPPED_PREFIX))
            networks.append(network)
        except ValueError as error:
            raise ConfigError(
                f"{where}: {error}; allowed: addresses and networks like 192.0.2.7 10.0.0.0/8 ::1"
            ) from error
    if not networks:
        raise ConfigError(f"{where}: empty; to refuse everybody, stop puppet-twitch.socket")
    return tuple(networks)


def _grants(where: str, value: str) -> tuple[str, ...]:
    words = tuple(value.split())
    for number, word in enumerate(words, start=1):
        if (word not in GRANTS or word == "environment") and not re.fullmatch(ENVIRONMENT_GRANT, word):
            if word.startswith("#"):
                raise ConfigError(f"{where}: a comment needs a line of its own")
            # Only a short word is repeated here: a long one may be a token that was pasted by mistake.
            named = f" ({word})" if re.fullmatch("[a-z]{1,12}", word) else ""
            raise ConfigError(f"{where}: word {number}{named} is not a grant; allowed: {GRANTS_ALLOWED}")
    return words


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def read(where: str, value: str) -> str:
        if value not in allowed:
            raise ConfigError(f"{where}: {value!r} is not allowed; allowed: {', '.join(allowed)}")
        return value

    return read


def _yes(where: str, value: str) -> bool:
    return _one_of("yes", "no")(where, value) == "yes"


def _cooldown(where: str, value: str) -> int:
    seconds, longest = durations.seconds(value), durations.shown(COOLDOWN_MAX_S)
    if seconds is None or seconds > COOLDOWN_MAX_S:
        raise ConfigError(f"{where}: {value!r} is not allowed; allowed: {durations.FORM}, at most {longest}")
    return seconds


def _number_of_runs(where: str, value: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", value) or not 1 <= int(value) <= KEEP_RUNS_MAX:
        raise ConfigError(
            f"{where}: {value!r} is not allowed; allowed: a number of runs from 1 to {KEEP_RUNS_MAX}"
        )
    return int(value)


def _size(where: str, value: str) -> int:
    found = re.fullmatch("([0-9]{1,7})([KMG])", value)
    size = int(found[1]) * SIZE_UNITS[found[2]] if found else 0
    if not KEEP_BYTES_MIN <= size <= KEEP_BYTES_MAX:
        raise ConfigError(
            f"{where}: {value!r} is not allowed; allowed: a size from 1M to 1G, such as 2048K or 8M"
        )
    return size


def _disable(where: str, value: str) -> int:
    seconds, longest = durations.seconds(value), durations.shown(DISABLE_MAX_MAX_S)
    if not seconds or seconds > DISABLE_MAX_MAX_S:
        raise ConfigError(f"{where}: {value!r} is not allowed; allowed: {durations.FORM}, at most {longest}")
    return seconds


def _absolute(where: str, value: str) -> str:
    if not value.startswith("/") or "\0" in value or "\n" in value:
        raise ConfigError(f"{where}: {value!r} is not allowed; allowed: an absolute path")
    return value


class Key(NamedTuple):
    """A key of the file: the field of `Config` that it sets, and what reads its text."""

    field: str
    read: Callable[[str, str], Any]


# section -> key. Callers are keys of [access] as well.
KEYS = {
    "access": {
        "from": Key("networks", _networks),
        "cooldown": Key("cooldown_s", _cooldown),
        "plaintext_tokens": Key("plaintext_tokens", _yes),
    },
    "puppet": {
        "command": Key("command", _one_of("agent", "apply")),
        "manifest": Key("manifest", _absolute),
        "path": Key("puppet_path", _absolute),
    },
    "disable": {
        "default": Key("disable_s", _disable),
        "max": Key("disable_max_s", _disable),
    },
    "tls": {
        "enabled": Key("tls", _yes),
        "client": Key("tls_client", _one_of("optional", "required")),
        "ca": Key("tls_ca", _absolute),
        "crl": Key("tls_crl", _absolute),
        "revocation": Key("tls_revocation", _one_of("chain", "leaf", "no")),
    },
    "runs": {
        "keep": Key("keep_runs", _number_of_runs),
        "size": Key("keep_bytes", _size),
    },
}
SECTIONS = " ".join(f"[{section}]" for section in KEYS)
CALLER_KEYS = ("anonymous", "token:NAME", "cert:CERTNAME, with * in names")


def _one_line(error: configparser.Error) -> str:
    """Return a text of configparser's on one line; its own run over several and repeat the file's name."""
    line = getattr(error, "lineno", None) or next(
        (number for number, _ in getattr(error, "errors", ())), None
    )
    place = f"line {line}: " if line else ""
    if isinstance(error, configparser.DuplicateOptionError):
        return f"{place}[{error.section}] {error.option}: given twice"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"{place}[{error.section}]: given twice"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"{place}outside of any section; begin with one of these on a line of its own: {SECTIONS}"
    return f"{place}not of the form 'key = value'"
