# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""The options that say how to reach a node."""

from __future__ import annotations

import pytest
from ansible_collections.puppet_twitch.node.plugins.module_utils import _access, _arguments

OPTIONS = {name: spec.get("default") for name, spec in _arguments.ARGUMENTS.items()}


def access(**options):
    return _access.access({**OPTIONS, "host": "web1.example.com", **options})


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "http://web1.example.com:2023"),
        ({"port": 80}, "http://web1.example.com:80"),
        ({"host": "2001:db8::1"}, "http://[2001:db8::1]:2023"),
        ({"ca_path": __file__}, "https://web1.example.com:2023"),
        ({"client_cert": __file__, "client_key": __file__}, "https://web1.example.com:2023"),
        ({"tls": True}, "https://web1.example.com:2023"),
        ({"ca_path": __file__, "tls": False}, "http://web1.example.com:2023"),
    ],
)
def test_tls_is_used_where_a_certificate_is_named(options, url):
    assert access(**options).url == url


def test_a_token_is_not_sent_over_plain_http_unless_the_task_says_so():
    with pytest.raises(_access.InvalidOption, match="ca_path"):
        access(token="secret")
    assert access(token="secret", tls=False).token == "secret"
    assert access(token="secret", host="localhost").token == "secret"
    assert access(token="secret", ca_path=__file__).tls


@pytest.mark.parametrize("line", ["secret\n", "Authorization: Bearer secret\n", " secret \r\nanother\n"])
def test_token_file(tmp_path, line):
    path = tmp_path / "token"
    path.write_text(line)
    assert access(token_file=str(path), tls=True).token == "secret"


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_token_file_without_a_token_is_named(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(_access.InvalidOption, match=str(path)):
        access(token_file=str(path), tls=True)


def test_a_key_needs_its_certificate():
    with pytest.raises(_access.InvalidOption, match="client_cert"):
        access(client_key=__file__)


def test_a_host_is_needed():
    with pytest.raises(_access.InvalidOption, match="host is missing"):
        access(host=None)


@pytest.mark.parametrize("option", ["client_cert", "client_key", "ca_path"])
def test_a_file_that_cannot_be_read_is_named(option):
    with pytest.raises(_access.InvalidOption, match=f"{option}: /no/such/file"):
        access(**{option: "/no/such/file"})
