# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""Queries to PuppetDB, and where it is.

This file is private to the collection.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import ConnectionError as UrlsConnectionError
from ansible.module_utils.urls import open_url

# As the clients of Puppet have it: `puppet query`, Bolt.
CLIENT_TOOLS = ("~/.puppetlabs/client-tools/puppetdb.conf", "/etc/puppetlabs/client-tools/puppetdb.conf")
DEFAULT_URL = "http://localhost:8080"
QUERY = "/pdb/query/v4"

# PuppetDB before 7.13 parses an array in quadratic time (PDB-3171).
NODES_OF_ONE_QUERY = 500

MAX_TEXT = 300

# What ansible takes for a host, or ansible_host. A fact comes from its node, and ssh would take a value like
# -oProxyCommand=… for an option, and run it here.
HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]{0,254}")


class PuppetDBError(Exception):
    """PuppetDB has no answer, or not one that is whole; the text says where and what."""


class Access(NamedTuple):
    """Where PuppetDB is, and with which certificate."""

    urls: Sequence[str]
    client_cert: Optional[str]
    client_key: Optional[str]
    ca_path: Optional[str]
    timeout_s: int
    use_proxy: bool


def is_host(text: str) -> bool:
    """Return whether a text is an address or a name, and nothing else."""
    return bool(HOST.fullmatch(text))


def client_tools(paths: Sequence[str] = CLIENT_TOOLS) -> Mapping[str, Any]:
    """Return the settings in the first of these files that exists, or none; raises PuppetDBError."""
    for path in map(os.path.expanduser, paths):
        try:
            with open(path, encoding="utf-8") as file:
                settings = json.load(file)["puppetdb"]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PuppetDBError(f"{path} is not a configuration of PuppetDB's clients: {error}") from error
        if not isinstance(settings, dict):
            raise PuppetDBError(f"{path}: puppetdb is not an object")
        return settings
    return {}


def query(access: Access, text: Union[str, list[Any]]) -> list[dict[str, Any]]:
    """Return the rows of a query in PQL, or as a syntax tree; raises PuppetDBError.

    The next URL is asked where one cannot be reached.
    """
    body = json.dumps({"query": text, "origin": "puppet_twitch.node.puppetdb"})
    failures = []
    for url in access.urls:
        try:
            response = open_url(
                f"{url.rstrip('/')}{QUERY}",
                data=body,
                method="POST",
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                timeout=access.timeout_s,
                use_proxy=access.use_proxy,
                client_cert=access.client_cert,
                client_key=access.client_key,
                ca_path=access.ca_path,
                follow_redirects="none",
                use_netrc=False,
            )
            return _rows(url, response.read())
        except HTTPError as error:
            reason = " ".join(error.read().decode("utf-8", "replace").split())[:MAX_TEXT]
            raise PuppetDBError(f"{url} answers {error.code} to the query: {reason}") from error
        except (OSError, http.client.HTTPException, UrlsConnectionError, ssl.CertificateError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            failures.append(f"{url} cannot be reached: {reason}")
    raise PuppetDBError("; ".join(failures) or "no URL of PuppetDB is known")


def _rows(url: str, body: bytes) -> list[dict[str, Any]]:
    try:
        rows = json.loads(body)
    except ValueError as error:
        # A query that takes longer than PuppetDB allows is cut under the status 200.
        raise PuppetDBError(f"the answer of {url} is cut, or is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PuppetDBError(f"the answer of {url} is not a list of rows")
    return rows


def facts(access: Access, certnames: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return facts of nodes, as {certname: {fact: value}}; names are dotted, as in networking.ip."""
    found: dict[str, dict[str, Any]] = {}
    columns = ["certname", *(f"facts.{name}" for name in names)]
    for start in range(0, len(certnames), NODES_OF_ONE_QUERY):
        some = list(certnames[start : start + NODES_OF_ONE_QUERY])
        rows = query(access, ["from", "inventory", ["extract", columns, ["in", "certname", ["array", some]]]])
        for row in rows:
            found[row["certname"]] = {name: row.get(f"facts.{name}") for name in names}
    return found
