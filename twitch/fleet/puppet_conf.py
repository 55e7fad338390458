"""What the files of Puppet on this machine say, if there are any: where the servers are.

An operator's machine need not have Puppet. What is read here only saves options.
"""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from pathlib import Path

from twitch.errors import UsageError

# The vendor's packages, and Debian's. The first directory that has the file is the one that is used.
CONF_DIRS = (Path("/etc/puppetlabs/puppet"), Path("/etc/puppet"))


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
