"""The files of TLS: those that the configuration names, the credentials, or Puppet's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twitch.config import Config
from twitch.errors import ConfigError
from twitch.listener import tls


def test_files_of_the_configuration_come_before_credentials_and_puppets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "VENDOR_PUPPET", os.fspath(tmp_path / "puppet"))
    own = {"cert": "/c", "key": "/k"}
    assert tls.files(Config(), own) == (
        "/c",
        "/k",
        "/var/lib/puppet/ssl/certs/ca.pem",
        "/var/lib/puppet/ssl/crl.pem",
    )
    (tmp_path / "puppet").touch()
    vendor = "/etc/puppetlabs/puppet/ssl"
    assert tls.files(Config(), own) == ("/c", "/k", f"{vendor}/certs/ca.pem", f"{vendor}/crl.pem")
    all_four = {**own, "ca": "/a", "crl": "/r"}
    assert tls.files(Config(), all_four) == ("/c", "/k", "/a", "/r")
    config = Config(tls_ca="/other/a", tls_crl="/other/r")
    assert tls.files(config, all_four) == ("/c", "/k", "/other/a", "/other/r")
    assert tls.files(config._replace(tls_revocation="no"), all_four).crl is None


@pytest.mark.parametrize("name", [tls.CERT, tls.KEY])
def test_a_credential_that_is_missing_is_named(name: str) -> None:
    passed = {other: "/x" for other in tls.CREDENTIALS if other != name}
    with pytest.raises(ConfigError, match=rf"passes no credential '{name}'; see tls\.conf"):
        tls.files(Config(tls=True), passed)
