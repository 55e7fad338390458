# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""Documentation of the options that say how to reach a node. This file is private to the collection."""

from __future__ import annotations


class ModuleDocFragment:
    """See DOCUMENTATION."""

    DOCUMENTATION = r"""
options:
  host:
    description:
      - The name of the node, which is what TLS verifies. With certificates of Puppet's CA, it is the
        certname.
      - The default is C(inventory_hostname), also with C(delegate_to).
    type: str
  address:
    description:
      - Where to connect, if it is not what DNS has for O(host).
      - The default is C(ansible_host) of the host in the inventory, unless O(host) is set.
    type: str
  port:
    description:
      - The port of puppet-twitch.
    type: int
    default: 2023
  tls:
    description:
      - Whether the port has TLS.
      - The default is V(true) if O(ca_path) or O(client_cert) is set, and V(false) otherwise.
    type: bool
  token:
    description:
      - A token of C(/etc/puppet-twitch/tokens) of the node.
      - It is sent over plain HTTP only to the machine itself, unless O(tls) is V(false).
    type: str
  token_file:
    description:
      - A file on the machine where the module runs, whose first line is the token, or the header that
        C(curl -H @FILE) takes.
    type: path
  client_cert:
    description:
      - A certificate of Puppet's CA, in PEM, with the rights of its name in C([access]) of the node.
      - The file can also have the key.
    type: path
  client_key:
    description:
      - The key of O(client_cert), in PEM and without a passphrase.
    type: path
  ca_path:
    description:
      - The certificate of Puppet's CA, in PEM. For example V(/etc/puppet/ssl/certs/ca.pem).
      - Without it, the certificate of the node is verified with the CAs of the system.
    type: path
  use_proxy:
    description:
      - Whether to obey C(http_proxy) and the like. Nodes are rarely reached through the proxy of the
        site.
    type: bool
    default: false
  unreachable:
    description:
      - Whether the task fails if the node does not answer. With V(ignore), the task is skipped, and
        RV(reachable) is V(false).
      - Nothing was started then. A run that has been started, and whose node cannot be reached any
        more, fails in any case.
    type: str
    choices:
      - fail
      - ignore
    default: fail
attributes:
  action:
    support: full
  action_group:
    support: full
    membership:
      - puppet_twitch.node.all
      - puppet_twitch.node.node
  async:
    support: full
  delegation:
    support: full
  platform:
    support: full
    platforms: posix
seealso:
  - name: puppet-twitch
    description: The program on the nodes.
    link: https://github.com/puppet-twitch/puppet-twitch
notes:
  - The module connects to the node by HTTP, so it runs on the controller, with
    C(delegate_to=localhost). The Python there has to be 3.9 or later. Nothing is copied to the node,
    and nothing is executed there by SSH.
"""
