#!/usr/bin/python
# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The module fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet
short_description: Run Puppet on many nodes with puppet-twitch-fleet
version_added: 1.0.0
description:
  - Calls C(puppet-twitch-fleet run), which runs Puppet on many nodes, so many at once, not faster than
    the puppetservers can take, and stops if too many fail.
  - The task runs once, on the controller. A task for each node costs Ansible a process and a quarter of
    a second of CPU time for each of them, so this is the module for more than a few hundred nodes, and
    for AWX.
author:
  - The puppet-twitch developers (!UNKNOWN)
extends_documentation_fragment:
  - puppet_twitch.node._attributes
requirements:
  - puppet-twitch-fleet on the machine where the module runs
attributes:
  action:
    support: none
  action_group:
    support: full
    membership:
      - puppet_twitch.node.all
  async:
    support: full
  check_mode:
    support: full
    details:
      - Puppet runs with C(noop), and the task is changed if a node would change something. A resource
        with C(noop => false) in the catalog is applied all the same.
  delegation:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Each task is a run on each node. A second run changes nothing if the catalogs are idempotent.
  platform:
    support: full
    platforms: posix
options:
  targets:
    description:
      - The certnames of the nodes. For example C({{ ansible_play_hosts }}).
    type: list
    elements: str
  query:
    description:
      - A query to PuppetDB in PQL, which returns the certnames of the nodes.
    type: str
  from_result:
    description:
      - The result file of an earlier run, see O(result_file). Its nodes are followed or run where that
        has ended. With O(only), exactly the nodes with these outcomes are run again.
    type: path
  only:
    description:
      - With O(from_result), outcomes such as V(failed), V(pending), V(not-attempted) and V(remaining).
    type: list
    elements: str
  exclude:
    description:
      - Not these nodes.
    type: list
    elements: str
  limit:
    description:
      - Only so many of the nodes, or such a part of them as in V(10%), chosen at random.
    type: str
  address_fact:
    description:
      - A fact whose value is where to connect, such as V(networking.ip). The default is what DNS has
        for the certname.
    type: str
  noop:
    description:
      - Whether Puppet only says what it would change. Check mode has the same effect.
    type: bool
    default: false
  tags:
    description:
      - Only apply resources with one of these tags.
    type: list
    elements: str
  environment:
    description:
      - The Puppet environment. The default is that of each node.
    type: str
  queue:
    description:
      - Whether to wait on nodes where Puppet is running, started by anyone.
    type: bool
    default: true
  label:
    description:
      - A name of yours for the runs, such as the number of a ticket. It has 1 to 40 letters, digits and
        C(._:-).
    type: str
  at_once:
    description:
      - How many runs go on at once. A number, or a part of all nodes as in V(10%). The default is 20, or with
        O(from_result) and without O(only) that of the earlier run.
    type: str
  one_per:
    description:
      - At most one run at once per value of this fact, such as V(cluster), or so many as in
        V(cluster=2).
    type: str
  canary:
    description:
      - A number of nodes, or a part of them as in V(5%), that are run first. If they fail, the rest is
        not started.
    type: str
  max_failures:
    description:
      - Nothing more is started, and the task fails, if more nodes than this fail that had not failed
        before. A number, or a part of all nodes as in V(2%). The default is 0, or with O(from_result) and
        without O(only) that of the earlier run.
    type: str
  max_unreachable:
    description:
      - The same for nodes that cannot be reached. The default is any number.
    type: str
  count_old_failures:
    description:
      - Whether nodes that had failed before count as failures, too.
    type: bool
    default: false
  stop_on_surprise:
    description:
      - Whether to stop if a node changes something that no canary has changed.
    type: bool
    default: false
  timeout:
    description:
      - How long to wait for each run, such as V(30m). The run goes on after that, and the node is
        V(late).
    type: str
  until:
    description:
      - A time of day, such as V(06:00), after which nothing more is started.
    type: str
  result_file:
    description:
      - A file for the result in JSON lines, for O(from_result) and C(puppet-twitch-fleet show).
    type: path
  junit:
    description:
      - A file for the result in the XML of JUnit.
    type: path
  html:
    description:
      - A file for the result as a page.
    type: path
  token:
    description:
      - A token of C(/etc/puppet-twitch/tokens) of the nodes.
    type: str
  token_file:
    description:
      - A file with the token.
    type: path
  client_cert:
    description:
      - A certificate of Puppet's CA, in PEM. The default is that in C(~/.config/puppet-twitch/), or for
        root that of the machine.
    type: path
  client_key:
    description:
      - The key of O(client_cert), in PEM.
    type: path
  ca_path:
    description:
      - The certificate of Puppet's CA, in PEM. The default is as for O(client_cert).
    type: path
  port:
    description:
      - The port of puppet-twitch. The default is 2023.
    type: int
  tls:
    description:
      - Whether the ports have TLS.
    type: bool
    default: true
  puppetdb:
    description:
      - The URL of PuppetDB, or V(none). The default is that in the files of Puppet on the machine.
    type: str
  puppetserver:
    description:
      - The URLs of the puppetservers whose queue is the brake, or V(none). The default is that in the
        files of Puppet on the machine.
    type: list
    elements: str
  executable:
    description:
      - The command, if it is not on C(PATH).
    type: str
    default: puppet-twitch-fleet
seealso:
  - module: puppet_twitch.node.run
    description: For single nodes.
notes:
  - Use it with C(run_once=true) and C(delegate_to=localhost).
"""

EXAMPLES = r"""
- name: Run Puppet on all nodes of the play, at most 50 at once
  puppet_twitch.node.fleet:
    targets: "{{ ansible_play_hosts }}"
    at_once: "50"
    canary: "5"
    max_failures: 1%
    label: CHG-123
  run_once: true
  delegate_to: localhost
  register: fleet

- name: See what would change on all Debian nodes
  puppet_twitch.node.fleet:
    query: inventory[certname] { facts.os.name = "Debian" }
    noop: true
    result_file: /tmp/dry-run.jsonl
  run_once: true
  delegate_to: localhost

- name: Apply to exactly those that would change
  puppet_twitch.node.fleet:
    from_result: /tmp/dry-run.jsonl
    only:
      - pending
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
nodes:
  description: How many nodes there are.
  returned: if a run was started
  type: int
  sample: 480
counts:
  description:
    - How many nodes have which outcome. V(unchanged), V(changed) and V(pending) are good. The others
      are V(failed), V(interrupted), V(not attempted), V(unproven), V(late), V(lost), V(disabled),
      V(refused), V(unreachable) and V(not started).
  returned: if a run was started
  type: dict
  sample: {"unchanged": 410, "changed": 66, "failed": 3, "disabled": 1}
groups:
  description: The names of the nodes with each outcome.
  returned: if a run was started
  type: dict
  sample: {"failed": ["db1.example.com"]}
remaining:
  description: The nodes that were not started, or of which it is not known how their run has ended.
  returned: if a run was started
  type: list
  elements: str
  sample: []
errors:
  description: Why nodes are not good, for a hundred of them at most.
  returned: if a run was started
  type: dict
  sample: {"db1.example.com": "Package[postgresql] failed"}
failed_new:
  description: How many nodes failed that had not failed before.
  returned: if a run was started
  type: int
  sample: 2
failed_before:
  description: How many nodes failed that had failed before.
  returned: if a run was started
  type: int
  sample: 1
fixed:
  description: How many nodes had failed before, and are good now.
  returned: if a run was started
  type: int
  sample: 4
stopped:
  description: Why not every node was started. It is null if every node was.
  returned: if a run was started
  type: str
  sample: "3 nodes newly failed"
rc:
  description: The exit status of puppet-twitch-fleet.
  returned: always
  type: int
  sample: 0
stdout:
  description: The summary, for people.
  returned: always
  type: str
  sample: "480 nodes: 410 unchanged, 66 changed, 3 failed, 1 disabled"
stderr:
  description: Notes and errors.
  returned: always
  type: str
  sample: ""
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.puppet_twitch.node.plugins.module_utils import _fleet

TEXT = {"type": "str"}
PATH = {"type": "path"}
TEXTS = {"type": "list", "elements": "str"}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "targets": TEXTS,
    "query": TEXT,
    "from_result": PATH,
    "only": TEXTS,
    "exclude": TEXTS,
    "limit": TEXT,
    "address_fact": TEXT,
    "noop": {"type": "bool", "default": False},
    "tags": TEXTS,
    "environment": TEXT,
    "queue": {"type": "bool", "default": True},
    "label": TEXT,
    "at_once": TEXT,
    "one_per": TEXT,
    "canary": TEXT,
    "max_failures": TEXT,
    "max_unreachable": TEXT,
    "count_old_failures": {"type": "bool", "default": False},
    "stop_on_surprise": {"type": "bool", "default": False},
    "timeout": TEXT,
    "until": TEXT,
    "result_file": PATH,
    "junit": PATH,
    "html": PATH,
    "token": {"type": "str", "no_log": True},
    "token_file": {"type": "path", "no_log": False},
    "client_cert": PATH,
    "client_key": {"type": "path", "no_log": False},
    "ca_path": PATH,
    "port": {"type": "int"},
    "tls": {"type": "bool", "default": True},
    "puppetdb": TEXT,
    "puppetserver": TEXTS,
    "executable": {"type": "str", "default": "puppet-twitch-fleet"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("targets", "query", "from_result"), ("token", "token_file")],
        required_one_of=[("targets", "query", "from_result")],
        required_by={"only": "from_result"},
        supports_check_mode=True,
    )
    options = dict(module.params)
    options["noop"] = options["noop"] or module.check_mode
    if options["targets"] == []:
        module.fail_json(msg="targets is empty: there is no node to run Puppet on.")
    if options["token"]:
        options["token_file"] = _private_file(module, options["token"])
    executable = module.get_bin_path(options["executable"]) or ""
    if not executable:
        module.fail_json(
            msg=f"{options['executable']} is not installed on the machine where the task runs:"
            " install the package puppet-twitch-fleet, or set executable."
        )
    result_file = options["result_file"] or os.path.join(module.tmpdir, "result.jsonl")
    command = _fleet.command(executable, options, result_file)
    status, output, errors = module.run_command(command, data=_fleet.standard_input(options))
    result = {"rc": status, "stdout": output, "stderr": errors}
    if status == _fleet.NOTHING_STARTED or not os.path.exists(result_file):
        text = errors.strip() or output.strip() or f"exit status {status}"
        module.fail_json(msg=f"nothing was started: {text}", **result)
    try:
        with open(result_file, encoding="utf-8") as lines:
            result.update(_fleet.result(lines))
    except (OSError, ValueError, KeyError, TypeError) as error:
        module.fail_json(msg=f"{result_file} is not a result of puppet-twitch-fleet: {error}", **result)
    failure = _fleet.failure(status, result)
    if failure:
        module.fail_json(msg=failure, **result)
    module.exit_json(**result)


def _private_file(module: AnsibleModule, token: str) -> str:
    """Return a file with the token; module.tmpdir is for this user only, and removed at the end."""
    path = os.path.join(module.tmpdir, "token")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{token}\n")
    return path


if __name__ == "__main__":
    main()
