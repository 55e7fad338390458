"""`/etc/puppet-twitch/puppet-twitch.conf`: what may stand there, and nothing else.

Every key has a default, so the file may be empty or missing. A fault is one line that names file,
section, key and what is allowed; it never falls back to a default, because a default may be laxer
than what the operator meant to write.
"""

from __future__ import annotations

import configparser
import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple, Optional, Union

from twitch import texts
from twitch.errors import ConfigError

CONFIG_FILE = "/etc/puppet-twitch/puppet-twitch.conf"
TOKENS_FILE = "/etc/puppet-twitch/tokens"

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

GRANT_WORDS = ("trigger", "noop", "tags", "status", "logs")
ENVIRONMENT_GRANT = re.compile(r"environment=[A-Za-z0-9_*]+")
GRANTS_ALLOWED = "any of: trigger noop tags environment=PATTERN status logs"

# Certnames are lower case (Puppet refuses others); a name of a token is what `token NAME` takes.
CALLER = re.compile(r"token:[A-Za-z0-9_.*-]{1,64}|cert:[a-z0-9_.*-]{1,253}")

ANONYMOUS_GRANTS = ("trigger", "status")
EVERYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))

# Anonymous callers only: ten seconds after a run ended, a run that somebody wants at once is either
# a loop or an attack; whoever has a name is trusted to know.
COOLDOWN_S = 10
COOLDOWN_MAX_S = 24 * 3600


class Config(NamedTuple):
    """The whole configuration, checked."""

    networks: tuple[Network, ...] = EVERYWHERE
    grants: Mapping[str, tuple[str, ...]] = {"anonymous": ANONYMOUS_GRANTS}  # caller -> grants
    cooldown_s: int = COOLDOWN_S
    plaintext_tokens: bool = False
    tls: bool = False
    tls_client: str = "optional"  # or "required"
    command: str = "agent"  # or "apply"
    manifest: Optional[str] = None  # absolute path; with "apply" only
    puppet_path: Optional[str] = None  # absolute path; None: look in the usual places


class _Parser(configparser.ConfigParser):
    # Without the end, `[access] anonymous =` would be a section, and what follows it not be there.
    SECTCRE = re.compile(r"\[(?P<header>[^]]+)\]\Z")
    optionxform = str  # type: ignore[assignment]  # names of callers are case-sensitive


class Loader:
    """`load` for a process that stays: a file that has said something may not fall silent.

    An editor that writes in place, or a full disk, leaves it empty for a moment or for good; what that
    means, the defaults, is laxer than most of what may have stood there.
    """

    def __init__(self) -> None:
        self._said = False

    def __call__(self, path: str) -> Config:
        """Read and check the file; raises `ConfigError`."""
        try:
            text = _read(path)
        except ConfigError:
            self._said = True  # something, if not what
            raise
        if self._said and not text:
            raise ConfigError(
                f"{path}: empty or gone, and was not before; write it again, or to go back to the defaults: "
                "systemctl stop puppet-twitch.service"
            )
        self._said = bool(text)
        return _parse(path, text)


def load(path: str = CONFIG_FILE) -> Config:
    """Read and check the file.

    A missing file is an empty one; one that cannot be read or understood raises `ConfigError`.
    """
    return _parse(path, _read(path))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""
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
    values: dict[str, object] = {}
    grants: dict[str, tuple[str, ...]] = {"anonymous": ANONYMOUS_GRANTS}
    for section in parser.sections():
        if section not in ("access", "puppet", "tls"):
            raise ConfigError(f"{path}: [{section}]: unknown section; allowed: [access] [puppet] [tls]")
        for key, value in parser.items(section):
            where = f"{path}: [{section}] {key}"
            if section == "access":
                _access(where, key, value, values, grants)
            elif section == "tls":
                _tls(where, key, value, values)
            else:
                _puppet(where, key, value, values)
    if values.get("command") == "apply" and "manifest" not in values:
        raise ConfigError(f"{path}: [puppet] command = apply needs a manifest = /absolute/path")
    if "manifest" in values and values.get("command") != "apply":
        raise ConfigError(f"{path}: [puppet] manifest is only for command = apply")
    return Config(grants=grants, **values)  # type: ignore[arg-type]


def _access(
    where: str, key: str, value: str, values: dict[str, object], grants: dict[str, tuple[str, ...]]
) -> None:
    if key == "from":
        values["networks"] = _networks(where, value)
    elif key == "cooldown":
        values["cooldown_s"] = _seconds(where, value, COOLDOWN_MAX_S)
    elif key == "plaintext_tokens":
        values["plaintext_tokens"] = _yes(where, value)
    elif key == "anonymous" or CALLER.fullmatch(key):
        grants[key] = _grants(where, value)
    else:
        raise ConfigError(
            f"{where}: unknown key; allowed: from, cooldown, plaintext_tokens, anonymous, "
            "token:NAME, cert:CERTNAME, with * in names"
        )


def _tls(where: str, key: str, value: str, values: dict[str, object]) -> None:
    if key == "enabled":
        values["tls"] = _yes(where, value)
    elif key == "client":
        if value not in ("optional", "required"):
            raise ConfigError(f"{where}: {value!r} is not allowed; allowed: optional, required")
        values["tls_client"] = value
    else:
        raise ConfigError(f"{where}: unknown key; allowed: enabled, client")


def _puppet(where: str, key: str, value: str, values: dict[str, object]) -> None:
    if key == "command":
        if value not in ("agent", "apply"):
            raise ConfigError(f"{where}: {value!r} is not allowed; allowed: agent, apply")
        values["command"] = value
    elif key == "manifest":
        values["manifest"] = _absolute(where, value)
    elif key == "path":
        values["puppet_path"] = _absolute(where, value)
    else:
        raise ConfigError(f"{where}: unknown key; allowed: command, manifest, path")


def _networks(where: str, value: str) -> tuple[Network, ...]:
    networks = []
    for word in value.split():
        try:
            if "%" in word:  # ipaddress takes it, and forgets it when it compares
                raise ValueError(f"{word!r} names an interface")
            networks.append(ipaddress.ip_network(word))
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
        if word not in GRANT_WORDS and not ENVIRONMENT_GRANT.fullmatch(word):
            if word.startswith("#"):
                raise ConfigError(f"{where}: a comment stands on a line of its own")
            # Not the word itself unless it is a short one: it may be a token that somebody has pasted here.
            named = f" ({word})" if re.fullmatch("[a-z]{1,12}", word) else ""
            raise ConfigError(f"{where}: word {number}{named} is not a grant; allowed: {GRANTS_ALLOWED}")
    return words


def _yes(where: str, value: str) -> bool:
    if value not in ("yes", "no"):
        raise ConfigError(f"{where}: {value!r} is not allowed; allowed: yes, no")
    return value == "yes"


def _seconds(where: str, value: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) > most:
        raise ConfigError(f"{where}: {value!r} is not allowed; allowed: seconds from 0 to {most}")
    return int(value)


def _absolute(where: str, value: str) -> str:
    if not value.startswith("/") or "\0" in value or "\n" in value:
        raise ConfigError(f"{where}: {value!r} is not allowed; allowed: an absolute path")
    return value


def _one_line(error: configparser.Error) -> str:
    """configparser's texts run over several lines and repeat the name of the file."""
    line = getattr(error, "lineno", None) or next(
        (number for number, _ in getattr(error, "errors", ())), None
    )
    place = f"line {line}: " if line else ""
    if isinstance(error, configparser.DuplicateOptionError):
        return f"{place}[{error.section}] {error.option}: given twice"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"{place}[{error.section}]: given twice"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"{place}outside of any section; begin with [access], [puppet] or [tls] on a line of its own"
    return f"{place}not of the form 'key = value'"
