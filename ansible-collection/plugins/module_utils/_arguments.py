# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The options that say how to reach a node, as the modules have them.

This file is private to the collection.
"""

from __future__ import annotations

from typing import Any

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
