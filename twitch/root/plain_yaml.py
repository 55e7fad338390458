"""Read YAML that may have been written by an attacker: without references, and bounded.

A YAML reference (`*a`) stands for a whole part of the document, so 442 bytes of them cost 566 MiB with
`yaml.safe_load`. Puppet writes none into what is read here.
"""

from __future__ import annotations

from typing import Any

from twitch.root import packages

# PyYAML is plain Python, and takes up to 3 s for this much on a busy machine. A summary is about 2 KB, and
# with a hundred types of resources 5 KB.
MAX_YAML_CHARS = 16 * 1024
# Puppet's reports have seven levels (an entry of resource_statuses, an event, its desired_value).
MAX_DEPTH = 32


def load(text: str) -> object:
    """Return the texts, lists and mappings of a document; None if it is no YAML, or more than it may be.

    Every plain value is a text: numbers and dates are not guessed. A reference, a tag (of Ruby's, for
    example), a key that is no plain value, or deep nesting makes the whole document None.
    """
    if len(text) > MAX_YAML_CHARS:
        return None
    packages.add()
    import yaml  # 12 ms, which a report of plain texts does not need

    try:
        return _document(text)
    # PyYAML also raises the last three: OverflowError for "\\UFFFFFFFF", ValueError for "\\U0011FFFF".
    except (yaml.YAMLError, RecursionError, ValueError, ArithmeticError, LookupError):
        return None


def _document(text: str) -> object:
    """Return the first document; raises `ValueError` and PyYAML's errors."""
    import yaml

    top: list[Any] = []
    within: list[tuple[Any, list[Any]]] = [(None, top)]  # what is open: an empty list or dict, and its items
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            raise ValueError("a reference or a tag")
        if isinstance(event, yaml.ScalarEvent):
            within[-1][1].append(event.value)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(within) > MAX_DEPTH:
                raise ValueError("nested too deep")
            within.append(({} if isinstance(event, yaml.MappingStartEvent) else [], []))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            whole, items = within.pop()
            if isinstance(whole, dict):
                if not all(isinstance(key, str) for key in items[::2]):
                    raise ValueError("a key that is no plain value")
                whole.update(zip(items[::2], items[1::2]))
            else:
                whole += items
            within[-1][1].append(whole)
        elif isinstance(event, yaml.DocumentEndEvent):
            break
    return top[0] if top else None
