"""What `check` makes of grants and certificates; the node as a whole is looked at in tests/e2e."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.unit.pki import PKI
from twitch.check import callers, certificates, files
from twitch.check.findings import FAULT, GOOD, NOTE, Finding
from twitch.check.units import Identity
from twitch.config import Config
from twitch.listener import tls
from twitch.listener.tokens import Token

# ---- the listener's user


def test_a_group_that_is_missing_is_a_fault() -> None:
    found = list(files.user(Identity("root", "nobody-of-that-name")))
    assert texts(found, FAULT) == ["there is no group nobody-of-that-name"]
    assert texts(found, GOOD) == ["user root exists"]


# ---- callers


def granted(config: Config, *names: str) -> list[Finding]:
    return list(callers.callers(config, tuple(Token(name, "0" * 64, None) for name in names)))


def texts(findings: list[Finding], level: str) -> list[str]:
    return [finding.text for finding in findings if finding.level == level]


def test_what_is_granted_is_said_in_words() -> None:
    found = granted(Config(grants={"anonymous": ("trigger", "status"), "cert:*": ()}, tls=True))
    assert texts(found, GOOD) == ["anonymous may trigger runs, read status and runs", "cert:* may do nothing"]
    assert texts(found, FAULT) == texts(found, NOTE) == []


@pytest.mark.parametrize(
    ("anonymous", "grants", "faults"),
    [
        pytest.param((), ("tags",), 1, id="tags-alone"),
        pytest.param((), ("environment=x",), 1, id="environment-alone"),
        pytest.param((), ("noop", "tags"), 0, id="tags-of-noop-runs"),
        pytest.param(("trigger",), ("tags",), 0, id="anonymous-triggers"),
        pytest.param((), ("logs",), 1, id="logs-alone"),
        pytest.param((), ("logs", "status"), 0, id="logs-of-runs"),
        pytest.param((), ("logs", "tags"), 2, id="both"),
    ],
)
def test_a_grant_that_can_never_apply(
    anonymous: tuple[str, ...], grants: tuple[str, ...], faults: int
) -> None:
    found = granted(Config(grants={"anonymous": anonymous, "token:a": grants}, tls=True), "a")
    assert len(texts(found, FAULT)) == faults
    assert all(finding.mend for finding in found if finding.level != GOOD)


def test_who_may_write_an_environment_is_worth_a_note() -> None:
    grants = {"anonymous": (), "token:a": ("noop", "environment=f_*", "environment=g")}
    found = granted(Config(grants=grants, tls=True), "a")
    text = "token:a may choose f_*, g: who may write such an environment runs code as root here, noop or not"
    assert texts(found, NOTE) == [text]


# ---- certificates


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


def look(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    paths = {name: os.fspath(directory / name) for name in tls.CREDENTIALS}
    monkeypatch.setattr(certificates, "_credentials", lambda unit: paths)  # which is systemd's to say
    config = Config(tls=True, puppet_path="/nonexistent")
    return list(certificates.certificates(config, "puppet-twitch.service"))


@pytest.fixture
def credentials(pki: PKI, tmp_path: Path) -> Path:
    return pki.hand_over(tmp_path / "credentials", *pki.certificate("node"))


def test_certificates_in_order(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(credentials, monkeypatch)
    assert texts(found, FAULT) == []
    # The test's CA is good for 30 days, which is soon.
    assert sum("expires within a month" in text for text in texts(found, NOTE)) >= 3
    assert any("was fetched 0 days ago" in text for text in texts(found, GOOD))


def test_an_old_crl_is_noted_with_its_age(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then = time.time() - 31 * 86400
    os.utime(credentials / "crl", (then, then))
    found = look(credentials, monkeypatch)
    assert "the CRL is 31 days old: who was revoked since is still let in" in texts(found, NOTE)


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


@pytest.mark.parametrize(("how", "said", "mend"), [(how, *rest) for how, rest in FAULTS.items()], ids=FAULTS)
def test_a_fault_of_certificates_has_a_mend(
    pki: PKI, credentials: Path, monkeypatch: pytest.MonkeyPatch, how: str, said: str, mend: str
) -> None:
    spoil(pki, credentials, how)
    faults = [finding for finding in look(credentials, monkeypatch) if finding.level == FAULT]
    assert said in faults[0].text
    assert mend in faults[0].mend
