"""Choose, of all that Puppet has logged and reported about a run, the text that says why it failed.

The first error of a log is often Facter's, which fails no run. Puppet's texts are translated and
rebranded, so only levels and sources decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, Optional, TypeVar

# Puppet's levels (lib/puppet/util/log.rb); no other is an error.
LEVELS = ("err", "alert", "emerg", "crit")
MAX_ERROR_CHARS = 500
# Enough to see what failed; the whole list is in the report.
MAX_FAILED_NAMED = 20
MAX_NAME_CHARS = 200

# Each resource of a catalog is contained in a stage: /Stage[main]/Main/Exec[x]. What Puppet logs about one of
# its properties ends with that: /Stage[main]/Main/Exec[x]/returns.
CATALOG = "/Stage["

Message = TypeVar("Message")


class Entry(NamedTuple):
    """One message of a log."""

    level: str
    source: str  # Puppet, Facter, or the path of a resource
    message: str


class Errors(Generic[Message]):
    """The errors of a log: of any number, those few that can say why the run failed."""

    def __init__(self) -> None:
        self._first: tuple[Message, ...] = ()
        self._of_resource: tuple[Message, ...] = ()
        self._of_puppet: tuple[Message, ...] = ()

    def add(self, source: str, message: Message) -> None:
        """Add the next error."""
        self._first = self._first or (message,)
        if source.startswith("/"):
            self._of_resource = (message,)
        elif source != "Facter":
            self._of_puppet = (*self._of_puppet[-2:], message)

    @property
    def best(self) -> tuple[Message, ...]:
        """Return the last error of a resource; else the last three that are not Facter's; else the first.

        Three, because the last ones can be without a cause: after "Could not retrieve catalog from remote
        server: Error 500 …" comes "Could not retrieve catalog; skipping run", and with OpenVox 9.0 rc1 then
        "Failed to apply catalog: undefined method `name' for nil".
        """
        return self._of_resource or self._of_puppet or self._first


def error(entries: Iterable[Entry]) -> Optional[str]:
    """Return the text that says why a run failed, on one line; None if there is no error."""
    errors: Errors[str] = Errors()
    for entry in entries:
        if entry.level in LEVELS:
            errors.add(entry.source, entry.message)
    return joined(errors.best)


def joined(messages: Iterable[Optional[str]]) -> Optional[str]:
    """Return messages on one line, with MAX_ERROR_CHARS at most; None if there is none."""
    texts = [" ".join(message.split()) for message in messages if message]
    if not texts:
        return None
    # The last ones in full, and as much of those before as there is room for.
    room = MAX_ERROR_CHARS
    kept: list[str] = []
    for text in reversed(texts):
        if room > 0:
            kept.insert(0, _within(room, text))
            room -= len(text) + len("; ")
    return "; ".join(kept)


def shortened(message: str) -> str:
    """Return a message on one line, with MAX_ERROR_CHARS at most."""
    return _within(MAX_ERROR_CHARS, " ".join(message.split()))


def _within(room: int, text: str) -> str:
    """Return a text of so many characters, without its middle if it is longer.

    A long text of the puppetserver has the parameter at its beginning, and its value, the file and the line
    at its end; between them are types with patterns.
    """
    if len(text) <= room:
        return text
    tail = room * 2 // 3
    return f"{text[: room - tail - 1]}…{text[-tail:]}" if tail > 1 else text[:room]


def outside_of_changes(source: str) -> bool:
    """Return whether an error with this source is a resource's own, and not one of a change to a property.

    Only such an error fails a run in which no resource is counted as failed: a resource that could not
    generate others (lib/puppet/transaction/additional_resource_generator.rb). A change is logged with the
    level that the manifest gives it (`loglevel => err`), so its errors are no sign of a failure.
    """
    return source.startswith(CATALOG) and source.endswith("]")


def name(text: str) -> str:
    """Return the name of a resource on one line, with MAX_NAME_CHARS at most."""
    return " ".join(text.split())[:MAX_NAME_CHARS]
