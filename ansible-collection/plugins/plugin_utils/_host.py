# Copyright (c) 2026 The puppet-twitch developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or
# https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions of run and status_info have in common.

This file is private to the collection.
"""

from __future__ import annotations

from typing import Any, Optional

from ansible.plugins.action import ActionBase


class HostAction(ActionBase):
    """Runs the module of the same name where the task runs, for the host of the inventory.

    A module cannot know inventory_hostname. With delegate_to, the variable ansible_host is that of the host
    to which the task is delegated, so only hostvars have the address of the node.
    """

    TRANSFERS_FILES = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """Return the result of the module."""
        self._supports_check_mode = True
        self._supports_async = True
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if not arguments.get("host"):
            arguments.update(_of_inventory(task_vars or {}, arguments))
        asynchronous = bool(self._task.async_val) and not self._connection.has_native_async
        result.update(
            self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=asynchronous)
        )
        return result


def _of_inventory(task_vars: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the name of the host, and where the inventory says that it is."""
    host = task_vars.get("inventory_hostname")
    address = arguments.get("address") or task_vars["hostvars"][host].get("ansible_host")
    return {"host": host, "address": address}
