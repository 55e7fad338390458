"""Certificates: made by openssl, and looked at as the listener's unit would get them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import pytest

from tests.unit.check.levels import of_level, texts
from tests.unit.pki import PKI
from twitch.check import certificates, systemd
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.config import Config
from twitch.listener import tls
from twitch.root import puppet

UNIT = "puppet-twitch.service"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def credentials(pki: PKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of the four files that LoadCredential= names in this test."""
    directory = pki.hand_over(tmp_path / "credentials", *pki.certificate("node"))
    paths = {name: os.fspath(directory / name) for name in tls.CREDENTIALS}
    monkeypatch.setattr(systemd, "credentials", lambda unit: paths)
    return directory


def check(*, enabled: bool = True) -> list[Finding]:
    return list(certificates.check(Config(tls=enabled, puppet_path="/nonexistent"), UNIT))


def puppet_settings(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    """Answer for `puppet config print`; every other command is run."""
    run = systemd.output

    def output(command: Sequence[str], stdin: str = "") -> Optional[str]:
        return settings.get(command[-1], "") if command[1] == "config" else run(command, stdin)

    monkeypatch.setattr(systemd, "output", output)
    monkeypatch.setattr(puppet, "find", lambda configured: "/usr/bin/puppet")


@pytest.mark.usefixtures("credentials")
def test_valid_certificates_have_no_faults() -> None:
    findings = check()
    assert texts(findings, FAULT) == []
    # The test's CA is valid for 30 days, which is soon.
    assert sum("expires within a month" in text for text in texts(findings, NOTE)) >= 3
    assert any("was fetched 0 days ago" in text for text in texts(findings, GOOD))


def test_an_old_crl_is_noted_with_its_age(credentials: Path) -> None:
    then = time.time() - 31 * 86400
    os.utime(credentials / "crl", (then, then))
    text = (
        f"the CRL {credentials}/crl is 31 days old: certificates revoked since then are still accepted here"
    )
    assert text in texts(check(), NOTE)


def test_a_crl_that_puppet_never_refreshes_is_noted(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    puppet_settings(monkeypatch, {"crl_refresh_interval": ""})
    text = f"Puppet never refreshes {credentials}/crl: a certificate that is revoked from now on is still"
    (note,) = (finding for finding in check() if "refreshes" in finding.text)
    assert (note.level, note.text) == (NOTE, f"{text} accepted here")
    assert note.fix.startswith("set crl_refresh_interval = 1d in [agent] of puppet.conf")


@pytest.mark.parametrize("own_key", [True, False], ids=["the-nodes-key", "a-key-of-its-own"])
def test_a_listener_with_the_key_of_the_node_is_noted(
    credentials: Path, monkeypatch: pytest.MonkeyPatch, own_key: bool
) -> None:
    node_key = credentials / "key" if own_key else credentials / "another"
    puppet_settings(monkeypatch, {"hostprivkey": os.fspath(node_key), "crl_refresh_interval": "1d"})
    notes = [
        text for text in texts(check(), NOTE) if text.startswith(f"the listener holds {credentials}/key: ")
    ]
    assert len(notes) == int(own_key)


def test_missing_credentials_are_named(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (credentials / "key").unlink()
    paths = {name: os.fspath(credentials / name) for name in tls.CREDENTIALS if name != tls.CRL}
    monkeypatch.setattr(systemd, "credentials", lambda unit: paths)
    text = f"TLS: missing key ({credentials}/key), crl (no LoadCredential=), so {UNIT} cannot start, or"
    assert check() == [Finding(FAULT, f"{text} answers 503", certificates.SET_UP)]


@pytest.mark.usefixtures("credentials")
def test_credentials_without_tls_are_noted() -> None:
    text = "puppet-twitch.service gets TLS credentials (LoadCredential=), but TLS is off"
    assert check(enabled=False) == [Finding(NOTE, text, "set [tls] enabled = yes in puppet-twitch.conf")]


def test_without_tls_and_credentials_there_is_nothing_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "credentials", lambda unit: {})
    assert check(enabled=False) == []


def spoil(pki: PKI, directory: Path, how: str) -> None:
    if how == "expired":
        pki.hand_over(directory, *pki.certificate("old", until="200101000000Z"))
    elif how == "revoked":
        cert, key = pki.certificate("revoked")
        pki.authority.revoke(cert)
        pki.hand_over(directory, cert, key)
    elif how == "crl-expired":
        (directory / "crl").write_text(pki.authority.crl(until="200101000000Z") + pki.root.crl())
    elif how == "root-crl-expired":
        (directory / "crl").write_text(pki.authority.crl() + pki.root.crl(until="200101000000Z"))
    elif how == "crl-of-one-ca":
        (directory / "crl").write_text(pki.authority.crl())
    elif how == "foreign":
        pki.hand_over(directory, *pki.certificate("foreign", by=pki.foreign))
    elif how == "another-key":
        (directory / "key").write_bytes(pki.certificate("other")[1].read_bytes())
    elif how == "no-root":
        (directory / "ca").write_text(pki.authority.cert.read_text())


FAULTS = {
    "expired": ("certificate has expired", "puppetserver ca generate"),
    "revoked": ("certificate revoked", "puppetserver ca generate"),
    "crl-expired": ("CRL has expired", "crl_refresh_interval"),
    "root-crl-expired": ("CRL has expired", "crl_refresh_interval"),
    "crl-of-one-ca": ("unable to get certificate CRL", "a CRL of every CA"),
    "foreign": ("unable to get local issuer certificate", "tls.conf"),
    "no-root": ("unable to get issuer certificate", "tls.conf"),
    "another-key": ("'cert' and 'key' do not fit", "tls.conf"),
}


@pytest.mark.parametrize(("how", "text", "fix"), [(how, *rest) for how, rest in FAULTS.items()], ids=FAULTS)
def test_an_unusable_certificate_is_a_fault_with_a_fix(
    pki: PKI, credentials: Path, how: str, text: str, fix: str
) -> None:
    spoil(pki, credentials, how)
    fault, *_ = of_level(check(), FAULT)
    assert text in fault.text
    assert fix in fault.fix


@pytest.mark.parametrize(
    ("expires", "level", "text"),
    [
        pytest.param("Jan  1 00:00:00 2020 GMT", FAULT, "the CA 'x' expired on 2020-01-01", id="expired"),
        pytest.param("Jan  1 00:00:00 9999 GMT", GOOD, "the CA 'x' is valid until 9999-01-01", id="valid"),
        pytest.param(
            None, NOTE, "the expiry date of the CA 'x' is unknown: OpenSSL prints None", id="unknown"
        ),
    ],
)
def test_expiry_dates(expires: object, level: str, text: str) -> None:
    (finding,) = certificates._expiry("CA 'x'", expires, "renew it")
    assert (finding.level, finding.text) == (level, text)
    assert bool(finding.fix) == (level != GOOD)
