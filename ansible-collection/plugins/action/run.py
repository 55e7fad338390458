# Copyright (c) 2026 The puppet-twitch developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or
# https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action of the module run: the host is that of the inventory unless the task names one."""

from __future__ import annotations

from ansible_collections.puppet_twitch.node.plugins.plugin_utils._host import HostAction


class ActionModule(HostAction):
    """See HostAction."""
