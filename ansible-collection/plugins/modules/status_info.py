#!/usr/bin/python
# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The module status_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status_info
short_description: Ask puppet-twitch on a node what Puppet is doing, and how its last run has ended
version_added: 1.0.0
description:
  - Reads the status over HTTP. Nothing on the node is changed, and no run is started.
author:
  - The puppet-twitch developers (!UNKNOWN)
extends_documentation_fragment:
  - puppet_twitch.node._node
  - puppet_twitch.node._attributes
attributes:
  check_mode:
    support: full
    details:
      - This action does not modify state.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
    details:
      - This action does not modify state.
options:
  max_age:
    description:
      - Also ask whether the node needs attention, for which the last run may have ended so long ago,
        such as V(2h).
    type: str
seealso:
  - module: puppet_twitch.node.run
notes:
  - The caller needs the grant C(status). Most values are only visible for callers with a line in
    C([access]).
"""

EXAMPLES = r"""
- name: Ask all nodes
  puppet_twitch.node.status_info:
    max_age: 2h
    unreachable: ignore
  delegate_to: localhost
  register: puppet

- name: Name those that need attention
  ansible.builtin.debug:
    msg: "{{ puppet.state }}: {{ puppet.attention }}"
  when: puppet.attention is defined and puppet.attention
"""

RETURN = r"""
state:
  description: What Puppet is doing.
  returned: if the node has answered
  type: str
  choices: [idle, running, queued, disabled, stuck]
  sample: idle
attention:
  description: Why the node needs attention. It is empty if it does not.
  returned: with O(max_age)
  type: str
  sample: the last run failed
status:
  description: All fields of the status, with the names that puppet-twitch(1) has.
  returned: if the node has answered
  type: dict
  sample: {"state": "idle", "age_s": 93.1, "last": {"verdict": "changed"}}
disabled:
  description: Whether Puppet is disabled.
  returned: if the node has answered
  type: bool
  sample: false
reason:
  description: Why Puppet is disabled.
  returned: if Puppet is disabled, and the caller may see it
  type: str
  sample: CHG-123
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
    _verdicts,
)
from ansible_collections.puppet_twitch.node.plugins.module_utils._answers import NotReached

ARGUMENTS: dict[str, dict[str, Any]] = {**_arguments.ARGUMENTS, "max_age": {"type": "str"}}

# The fields of an error around those of the status (RFC 9457).
ERROR_FIELDS = ("type", "title", "status", "detail", "message")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=_arguments.MUTUALLY_EXCLUSIVE,
        supports_check_mode=True,
    )
    max_age = module.params["max_age"]
    parameters = {"max_age": max_age} if max_age else {}
    try:
        access = _access.access(module.params)
        answer = _http.ask(access, "GET", "/puppet/status", parameters)
    except _access.InvalidOption as error:
        module.fail_json(msg=str(error))
    except NotReached as error:
        result = {"changed": False, "reachable": False, "msg": f"unreachable: {error}"}
        if module.params["unreachable"] == "ignore":
            module.exit_json(skipped=True, **result)
        module.fail_json(**result)
    if "state" not in answer.fields:
        module.fail_json(msg=answer.text, reachable=True)
    status = {name: value for name, value in answer.fields.items() if name not in ERROR_FIELDS}
    result = {
        "changed": False,
        "reachable": True,
        "state": status["state"],
        "status": status,
        "disabled": False,
    }
    if status.get("disabled"):
        result.update(_verdicts.disabled(status))
    if max_age:
        result["attention"] = answer.text if answer.status == 503 else ""
    module.exit_json(**result)


if __name__ == "__main__":
    main()
