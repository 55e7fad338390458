#!/usr/bin/python
# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The module run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run
short_description: Run Puppet on a node through puppet-twitch, and wait for the verdict
version_added: 1.0.0
description:
  - Triggers a Puppet run over HTTP, and waits for its end. The task has the verdict of the report that
    Puppet has written, and not an exit status.
  - A run is never started twice by a retry of the module. The node is asked again only after an answer
    that says that nothing was started. If a connection breaks, the run is looked for on the node by its
    label.
author:
  - The puppet-twitch developers (!UNKNOWN)
extends_documentation_fragment:
  - puppet_twitch.node._node
  - puppet_twitch.node._attributes
attributes:
  check_mode:
    support: full
    details:
      - Puppet runs with C(noop), and the task is changed if the run would change something. A resource
        with C(noop => false) in the catalog is applied all the same.
      - Where the caller does not have the grant C(noop), the task fails. It never becomes a run that
        changes things.
  diff_mode:
    support: partial
    details:
      - Names the resources and properties that have changed or would change, for callers that may see
        them. Values are in no record of puppet-twitch.
  idempotent:
    support: partial
    details:
      - Each task is a run. A second run changes nothing if the catalog is idempotent.
options:
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
    default: []
  environment:
    description:
      - The Puppet environment. The default is that of the node.
    type: str
  queue:
    description:
      - Whether to wait for another Puppet run, started by anyone. With V(false), the task fails then.
    type: bool
    default: true
  wait:
    description:
      - For how many seconds to wait for the end of the run, in the queue and after that.
      - If the run has not ended by then, the task fails, RV(outcome) is V(late), and the run goes on.
        Follow it with O(run).
      - With V(0), the task starts the run and does not wait for it. It is changed then, because nothing
        else is known.
    type: int
    default: 3600
  label:
    description:
      - A name of yours for the run, such as the number of a ticket. It is in the record of the run, and
        in the journal of the node. It has 1 to 40 letters, digits and C(._:-).
      - The default is a random one.
    type: str
  disabled:
    description:
      - Whether the task fails if Puppet is disabled on the node. With V(ok), it is skipped.
    type: str
    choices:
      - ok
      - fail
    default: ok
  run:
    description:
      - The id of a run to follow. No run is started then.
    type: str
seealso:
  - module: puppet_twitch.node.status_info
  - module: puppet_twitch.node.fleet
    description: For more than a few hundred nodes.
notes:
  - The caller needs the grants C(trigger) and C(status), and C(noop), C(tags) and C(environment=NAME)
    for these options. Everyone has the grants of C(anonymous) on the node.
  - Callers with a line in C([access]) of the node, or with the grant C(logs), see resources and
    reasons. The grant C(logs) shows the error messages of Puppet as well.
"""

EXAMPLES = r"""
- name: Run Puppet on all web servers, ten at a time
  hosts: web
  gather_facts: false
  serial: 10
  module_defaults:
    group/puppet_twitch.node.node:
      ca_path: /etc/puppet/ssl/certs/ca.pem
      client_cert: "{{ lookup('env', 'HOME') }}/.config/puppet-twitch/cert.pem"
      client_key: "{{ lookup('env', 'HOME') }}/.config/puppet-twitch/key.pem"
  tasks:
    - name: Run Puppet
      puppet_twitch.node.run:
        label: CHG-123
      delegate_to: localhost

- name: See what a branch would change on the node that is called web1
  puppet_twitch.node.run:
    host: web1.example.com
    noop: true
    environment: feature_x
  delegate_to: localhost

- name: Start a run, do something else, and wait for the run
  block:
    - name: Start
      puppet_twitch.node.run:
        wait: 0
      delegate_to: localhost
      register: started
    - name: Something else
      ansible.builtin.debug:
        msg: Puppet runs on {{ inventory_hostname }}
    - name: Wait
      puppet_twitch.node.run:
        run: "{{ started.run }}"
      delegate_to: localhost
      when: started.run is defined
"""

RETURN = r"""
outcome:
  description:
    - What became of the run. V(unchanged), V(changed) and V(pending) are good. V(pending) means that a
      noop run would change something. V(running) is only returned with O(wait=0).
    - V(failed), V(interrupted), V(not attempted) and V(busy) are verdicts of the node. V(disabled),
      V(refused) and V(unreachable) mean that no run was started.
    - V(late) means that the run goes on, V(lost) that the node could not be reached any more or has no
      record of the run, and V(unproven) that the node could not write its verdict.
  returned: always
  type: str
  sample: changed
run:
  description: The id of the run, which is also the job id of its report in PuppetDB.
  returned: if a run was started
  type: str
  sample: 5d0c1f6be09a4e3e8f5a2b0f4f0f9d11
verdict:
  description: The verdict of the node.
  returned: if the run has ended
  type: str
  sample: changed
noop:
  description: Whether it was a noop run, also if C(noop) is set on the node.
  returned: if the run has ended
  type: bool
  sample: false
counts:
  description: Numbers of resources.
  returned: if there is a report
  type: dict
  sample: {"total": 574, "changed": 2, "failed": 0}
would_change:
  description: How many resources were kept from changing by noop.
  returned: if there are any
  type: int
  sample: 2
duration:
  description: The seconds that the run has taken.
  returned: if the run has ended
  type: float
  sample: 42.5
reported:
  description: Whether the verdict is that of a report of Puppet.
  returned: if the run has ended
  type: bool
  sample: true
environment:
  description: The Puppet environment.
  returned: if the caller may see it
  type: str
  sample: production
configuration_version:
  description: The version of the catalog.
  returned: if the caller may see it
  type: str
  sample: "1769072703"
label:
  description: The label of the run.
  returned: if the caller may see it
  type: str
  sample: CHG-123
reason:
  description: Why the run is not good, or why Puppet is disabled.
  returned: if the caller may see it
  type: str
  sample: Package[nginx] failed
error:
  description: What Puppet has logged about the error.
  returned: if the caller may see it
  type: str
  sample: "Execution of '/usr/bin/apt-get install nginx' returned 100"
resources:
  description: What happened to the resources that are not as they were, without values.
  returned: if the caller may see it
  type: list
  elements: dict
  sample:
    - resource: File[/etc/motd]
      outcome: changed
      file: /etc/puppet/code/environments/production/manifests/site.pp
      line: 12
      events: [{"property": "content", "status": "success"}]
resources_left_out:
  description: How many more resources there were.
  returned: if there are any
  type: int
  sample: 12
disabled:
  description: Whether Puppet is disabled.
  returned: if it is
  type: bool
  sample: true
disabled_by:
  description: Who has disabled Puppet.
  returned: if Puppet is disabled, and the caller may see it
  type: str
  sample: token:deploy
disabled_until:
  description: When that ends.
  returned: if Puppet is disabled, and that has an end
  type: str
  sample: "2026-11-26T02:00:00Z"
reachable:
  description: Whether the node has answered.
  returned: always
  type: bool
  sample: true
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.puppet_twitch.node.plugins.module_utils import (
    _access,
    _arguments,
    _http,
    _runs,
    _verdicts,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    **_arguments.ARGUMENTS,
    "noop": {"type": "bool", "default": False},
    "tags": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "str"},
    "queue": {"type": "bool", "default": True},
    "wait": {"type": "int", "default": 3600},
    "label": {"type": "str"},
    "disabled": {"type": "str", "choices": ["ok", "fail"], "default": "ok"},
    "run": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=_arguments.MUTUALLY_EXCLUSIVE,
        supports_check_mode=True,
    )
    try:
        access = _access.access(module.params)
    except _access.InvalidOption as error:
        module.fail_json(msg=str(error))
    clock = _runs.Clock(module.params["wait"])
    send = _http.sender(access)
    try:
        run = module.params["run"] or _runs.start(send, _ask(module), clock)
        if not module.params["wait"] and not module.params["run"]:
            module.exit_json(changed=True, run=run, outcome="running", reachable=True)
        answer = _runs.follow(send, run, clock)
    except _runs.Stopped as stopped:
        _end_without_verdict(module, stopped)
    result = {"reachable": True, **_verdicts.result(answer)}
    changes = _verdicts.lines(answer.fields)
    if changes:
        result["diff"] = {"prepared": "\n".join((*changes, ""))}
    if result["verdict"] not in _verdicts.GOOD:
        result["changed"] = bool((result.get("counts") or {}).get("changed"))
        module.fail_json(msg=answer.text, **result)
    module.exit_json(**result)


def _ask(module: AnsibleModule) -> _runs.Ask:
    options = module.params
    return _runs.Ask(
        noop=options["noop"] or module.check_mode,
        queue=options["queue"],
        tags=tuple(options["tags"]),
        environment=options["environment"],
        label=options["label"],
    )


def _end_without_verdict(module: AnsibleModule, stopped: _runs.Stopped) -> None:
    """Fail, or skip the task if its options allow that."""
    outcome = stopped.outcome
    result = {"outcome": outcome, "msg": f"{outcome}: {stopped}", "reachable": stopped.answer is not None}
    if stopped.run:
        result["run"] = stopped.run
    if outcome == "disabled" and stopped.answer:
        result.update(_verdicts.disabled(stopped.answer.fields))
        if module.params["disabled"] == "ok":
            module.exit_json(changed=False, skipped=True, **result)
    if outcome == "unreachable" and module.params["unreachable"] == "ignore":
        module.exit_json(changed=False, skipped=True, **result)
    module.fail_json(**result)


if __name__ == "__main__":
    main()
