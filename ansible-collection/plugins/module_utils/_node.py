# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The options that say how to reach a node, as the modules have them.

This file is private to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.puppet_twitch.node.plugins.module_utils._http import Access

LOOPBACK = ("localhost", "127.0.0.1", "::1")

ARGUMENTS: dict[str, dict[str, Any]] = {
    "host": {"type": "str"},
    "address": {"type": "str"},
    "port": {"type": "int", "default": 2023},
    "tls": {"type": "bool"},
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "path", "no_log": False},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "ca_path": {"type": "path"},
    "use_proxy": {"type": "bool", "default": False},
    "unreachable": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
}
MUTUALLY_EXCLUSIVE = (("token", "token_file"),)


class InvalidOption(Exception):
    """An option is invalid; the text names it."""


def access(options: Mapping[str, Any]) -> Access:
    """Return how to reach the node; raises InvalidOption."""
    if not options["host"]:
        raise InvalidOption("host is missing: without the inventory, the task has to name it.")
    token = options["token"] or _token_of_file(options["token_file"])
    tls = options["tls"]
    if tls is None:
        tls = bool(options["ca_path"] or options["client_cert"])
        if token and not tls and options["host"] not in LOOPBACK:
            raise InvalidOption(
                "A token is not sent over plain HTTP: set ca_path to the certificate of Puppet's CA."
                " If the port has no TLS and nobody can eavesdrop on the network, set tls to false."
            )
    if options["client_key"] and not options["client_cert"]:
        raise InvalidOption("client_key needs client_cert, which is the certificate of this key.")
    return Access(
        host=options["host"],
        address=options["address"],
        port=options["port"],
        tls=tls,
        token=token,
        client_cert=options["client_cert"],
        client_key=options["client_key"],
        ca_path=options["ca_path"],
        use_proxy=options["use_proxy"],
    )


def disabled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an answer of a node says about who has disabled Puppet, as far as the caller may see it."""
    hold = fields.get("disabled") or {}
    values = {
        "reason": hold.get("reason"),
        "disabled_by": hold.get("by"),
        "disabled_until": hold.get("until"),
    }
    return {"disabled": True, **{name: value for name, value in values.items() if value}}


def _token_of_file(path: str | None) -> str | None:
    """Return the first line of a file, without the `Authorization: Bearer` that curl's -H @FILE needs."""
    if not path:
        return None
    try:
        with open(path, encoding="ascii") as file:
            token = file.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        text = getattr(error, "strerror", None) or "not a text in ASCII"
        raise InvalidOption(f"token_file: {path} cannot be read: {text}.") from error
    token = token.rpartition(" ")[2]
    if not token:
        raise InvalidOption(f"token_file: the first line of {path} is empty; it has to be the token.")
    return token
