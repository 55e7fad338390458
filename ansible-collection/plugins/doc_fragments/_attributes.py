# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""Documentation of the attributes. This file is private to the collection."""

from __future__ import annotations


class ModuleDocFragment:
    """See DOCUMENTATION."""

    DOCUMENTATION = r"""
options: {}
attributes:
  action:
    description: Has a corresponding action plugin, which runs on the controller.
  action_group:
    description: Use C(group/puppet_twitch.node.all) in C(module_defaults) to set defaults for this module.
  async:
    description: Supports being used with the C(async) keyword.
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  delegation:
    description: Can be used in conjunction with C(delegate_to) and related keywords.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation
        indicates no change.
  platform:
    description: Target OS/families that can be operated against.
"""
