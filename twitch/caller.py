"""A caller: who asks, and what the caller may do and see. `listener/access.py` and `cli/` say who it is."""

from __future__ import annotations

from typing import NamedTuple


class Caller(NamedTuple):
    """A caller: a name, an address, and the grants of the name.

    A caller is `named` if a line of [access] that has grants matches its token or certificate. A token or a
    certificate that no line matches (every node of a fleet has a certificate) changes nothing: such a
    caller has the grants of `anonymous`, and sees as little (views.py). A person at the command line is
    root, and is named.
    """

    name: str
    address: str
    grants: frozenset[str]
    named: bool = False
