# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""What is a host of an inventory."""

from __future__ import annotations

import pytest
from ansible_collections.puppet_twitch.node.plugins.plugin_utils import _puppetdb


@pytest.mark.parametrize(
    "text", ["web1.example.com", "192.0.2.7", "2001:db8::7", "fe80::1%eth0", "::1", "_x"]
)
def test_a_name_or_an_address_is_a_host(text):
    assert _puppetdb.is_host(text)


@pytest.mark.parametrize(
    "text", ["-oProxyCommand=x", "", "a b", "a\nb", "a@b", "{{ a }}", "a/b", "x" * 256, "web1\n"]
)
def test_what_ssh_could_take_for_an_option_is_no_host(text):
    """The value of an address_fact comes from the node."""
    assert not _puppetdb.is_host(text)
