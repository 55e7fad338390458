# Copyright (c) 2026 The puppet-twitch developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or
# https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin puppetdb."""

from __future__ import annotations

DOCUMENTATION = r"""
name: puppetdb
short_description: The nodes of PuppetDB as inventory
version_added: 1.0.0
description:
  - The nodes that a query to PuppetDB returns are the hosts. Their facts, and the columns of the query,
    are variables.
  - Works with PuppetDB 6 and later and OpenVoxDB, and does not need puppet-twitch.
  - The name of the file has to end with C(puppetdb.yml) or C(puppetdb.yaml).
author:
  - The puppet-twitch developers (!UNKNOWN)
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description:
      - The name of this plugin.
    type: str
    required: true
    choices:
      - puppet_twitch.node.puppetdb
  url:
    description:
      - The URLs of PuppetDB. The next one is asked where one cannot be reached.
      - The default is C(server_urls) in C(~/.puppetlabs/client-tools/puppetdb.conf) or
        C(/etc/puppetlabs/client-tools/puppetdb.conf), which C(puppet query) and Bolt use, or else
        V(http://localhost:8080).
    type: list
    elements: str
    env:
      - name: PUPPETDB_URL
  client_cert:
    description:
      - A certificate of Puppet's CA, in PEM. The default is C(cert) in the file of the clients, see
        O(url).
    type: path
    env:
      - name: PUPPETDB_CERT
  client_key:
    description:
      - The key of O(client_cert), in PEM. The default is C(key) in the file of the clients.
    type: path
    env:
      - name: PUPPETDB_KEY
  ca_path:
    description:
      - The certificate of Puppet's CA, in PEM. The default is C(cacert) in the file of the clients.
    type: path
    env:
      - name: PUPPETDB_CACERT
  query:
    description:
      - A query in PQL. Each row has to have C(certname).
      - All other columns become variables with O(prefix). A column such as C(facts.networking.ip) is a
        fact.
    type: str
    default: nodes[certname, report_environment, latest_report_status, report_timestamp] { }
  facts:
    description:
      - Facts of these nodes to get as well, with dots, such as V(os.family). They are in the variable
        C(puppet_facts) (with another O(prefix), in its C(facts)), as C(puppet_facts.os.family).
    type: list
    elements: str
    default: []
  address_fact:
    description:
      - A fact whose value becomes C(ansible_host), such as V(networking.ip). A node without it has
        none.
    type: str
  prefix:
    description:
      - What the names of the variables begin with.
    type: str
    default: puppet_
  timeout:
    description:
      - How many seconds to wait for an answer of PuppetDB.
    type: int
    default: 60
  use_proxy:
    description:
      - Whether to obey C(http_proxy) and the like.
    type: bool
    default: false
seealso:
  - name: PQL
    description: The query language of PuppetDB.
    link: https://www.puppet.com/docs/puppetdb/latest/api/query/v4/pql.html
"""

EXAMPLES = r"""
# production.puppetdb.yml
plugin: puppet_twitch.node.puppetdb
url:
  - https://puppetdb.example.com:8081
client_cert: /etc/puppet/ssl/certs/admin.pem
client_key: /etc/puppet/ssl/private_keys/admin.pem
ca_path: /etc/puppet/ssl/certs/ca.pem
query: nodes[certname, latest_report_status] { report_environment = "production" }
facts:
  - os.family
  - networking.ip
address_fact: networking.ip
groups:
  failing: puppet_latest_report_status == "failed"
keyed_groups:
  - key: puppet_facts.os.family | lower
    prefix: os
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/puppetdb-inventory
"""

from typing import Any, Optional

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.puppet_twitch.node.plugins.plugin_utils import _puppetdb

ENDINGS = ("puppetdb.yml", "puppetdb.yaml")


def untrusted(value: Any) -> Any:
    """Return a value in which no text is a template. Facts come from the nodes."""
    if isinstance(value, dict):
        return {untrusted(name): untrusted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [untrusted(item) for item in value]
    # Only what could be one, because `ansible-inventory --list` shows the mark. ansible-core 2.19 and later
    # takes no variable of an inventory for a template.
    return wrap_var(value) if isinstance(value, str) and "{" in value else value


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The nodes of PuppetDB."""

    NAME = "puppet_twitch.node.puppetdb"

    def verify_file(self, path: str) -> bool:
        """Return whether the name of the file is one of this plugin."""
        return bool(super().verify_file(path)) and path.endswith(ENDINGS)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: FBT001, FBT002
        """Add the hosts to the inventory."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            rows = self._rows(self.get_cache_key(path), cache=cache)
        except _puppetdb.PuppetDBError as error:
            raise AnsibleParserError(f"{path}: {error}") from error
        for certname in rows:
            if _puppetdb.is_host(certname):
                self._add(certname, rows[certname])
            else:
                self.display.warning(f"{path}: {certname!r} is left out, because it is no name of a host")

    def _rows(self, key: str, *, cache: bool) -> dict[str, dict[str, Any]]:
        """Return the columns and facts of each node, by certname: from the cache, or from PuppetDB."""
        if cache and self.get_option("cache"):
            try:
                cached: dict[str, dict[str, Any]] = self._cache[key]
                return cached
            except KeyError:
                pass
        rows = self._ask()
        if self.get_option("cache"):
            self._cache[key] = rows
        return rows

    def _ask(self) -> dict[str, dict[str, Any]]:
        access, text = self._access(), self.get_option("query")
        rows = {}
        for row in _puppetdb.query(access, text):
            if not isinstance(row.get("certname"), str):
                why = "the query returns rows without certname; it has to begin as nodes[certname] does"
                raise _puppetdb.PuppetDBError(f"{why}: {text}")
            rows[row["certname"]] = row
        wanted = dict.fromkeys([*self.get_option("facts"), *filter(None, [self.get_option("address_fact")])])
        if wanted:
            for certname, values in _puppetdb.facts(access, list(rows), list(wanted)).items():
                rows[certname].update({f"facts.{name}": value for name, value in values.items()})
        return rows

    def _access(self) -> _puppetdb.Access:
        options = {name: self.get_option(name) for name in ("url", "client_cert", "client_key", "ca_path")}
        settings = {} if options["url"] else _puppetdb.client_tools()
        urls = options["url"] or settings.get("server_urls") or [_puppetdb.DEFAULT_URL]
        return _puppetdb.Access(
            urls=[urls] if isinstance(urls, str) else urls,
            client_cert=options["client_cert"] or settings.get("cert"),
            client_key=options["client_key"] or settings.get("key"),
            ca_path=options["ca_path"] or settings.get("cacert"),
            timeout_s=self.get_option("timeout"),
            use_proxy=self.get_option("use_proxy"),
        )

    def _add(self, certname: str, row: dict[str, Any]) -> None:
        """Add a host with its variables and groups."""
        prefix, address_fact = self.get_option("prefix"), self.get_option("address_fact")
        values: dict[str, Any] = {}
        for column, value in row.items():
            if column == "certname":
                continue
            *parents, name = column.split(".")
            into = values
            for parent in parents:
                into = into.setdefault(parent, {})
            into[name] = value
        variables = {f"{prefix}{name}": untrusted(value) for name, value in values.items()}
        address: Optional[Any] = row.get(f"facts.{address_fact}") if address_fact else None
        if address and _puppetdb.is_host(str(address)):
            variables["ansible_host"] = str(address)
        elif address:
            self.display.warning(f"{certname}: {address_fact} is {str(address)!r}, which is no address")
        host = self.inventory.add_host(certname)
        for name, value in variables.items():
            self.inventory.set_variable(host, name, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host, strict=strict)
