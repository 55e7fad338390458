"""Certificates: made by openssl, and looked at as the listener's unit would get them."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import pytest

from tests.unit.check.levels import of_level, texts
from tests.unit.pki import PKI
from twitch.check import certificates, crls, expiry, reading, systemd
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
    printed = "\n".join(f"{name} = {value}" for name, value in settings.items())

    def output(command: Sequence[str], stdin: str = "") -> Optional[str]:
        return printed if command[1] == "config" else run(command, stdin)

    monkeypatch.setattr(systemd, "output", output)
    monkeypatch.setattr(puppet, "find", lambda configured: "/usr/bin/puppet")


@pytest.mark.usefixtures("credentials")
def test_valid_certificates_have_no_faults() -> None:
    findings = check()
    assert texts(findings, FAULT) == []
    # The test's CA is valid for 30 days, which is soon.
    assert sum("expires within a month" in text for text in texts(findings, NOTE)) >= 3
    good = texts(findings, GOOD)
    assert any("was fetched less than a minute ago; 0 certificates are revoked. " in text for text in good)
    chain = "of a client's certificate and of the CAs above it ([tls] revocation = chain)"
    assert f"revocation is checked {chain}" in good


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
    assert (note.fix, note.by_hand) == (
        "/usr/bin/puppet config set --section agent crl_refresh_interval 1d;"
        f" mv {credentials}/crl {credentials}/crl.old;"
        f" /usr/bin/puppet ssl bootstrap --waitforcert 0 || mv {credentials}/crl.old {credentials}/crl",
        False,
    )


def test_a_crl_that_is_not_puppets_own_is_replaced_by_hand(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    puppet_settings(monkeypatch, {"crl_refresh_interval": "", "hostcrl": "/etc/own.pem"})
    (note,) = (finding for finding in check() if "refreshes" in finding.text)
    assert note.by_hand
    assert note.fix.startswith(f"{credentials}/crl is not Puppet's own CRL (/etc/own.pem): replace it")


@pytest.mark.parametrize("own_key", [True, False], ids=["the-nodes-key", "a-key-of-its-own"])
def test_whose_key_the_listener_holds_is_said_and_no_note(
    credentials: Path, monkeypatch: pytest.MonkeyPatch, own_key: bool
) -> None:
    node_key = credentials / "key" if own_key else credentials / "another"
    puppet_settings(monkeypatch, {"hostprivkey": os.fspath(node_key), "crl_refresh_interval": "1d"})
    (text,) = (text for text in texts(check(), GOOD) if text.startswith("the listener "))
    held = f"the listener holds {credentials}/key: an attacker who takes over the listener can impersonate"
    own = f"the listener has a key of its own, {credentials}/key"
    assert text.startswith(held if own_key else own)


def test_missing_credentials_are_named(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (credentials / "key").unlink()
    paths = {name: os.fspath(credentials / name) for name in tls.CREDENTIALS if name != tls.CRL}
    monkeypatch.setattr(systemd, "credentials", lambda unit: paths)
    text = f"TLS: missing key ({credentials}/key), so {UNIT} cannot start, or"
    assert check() == [Finding(FAULT, f"{text} answers 503", certificates.SET_UP, by_hand=True)]


@pytest.mark.usefixtures("credentials")
def test_credentials_without_tls_are_noted() -> None:
    text = "puppet-twitch.service gets TLS credentials (LoadCredential=), but TLS is off"
    fix = "set [tls] enabled = yes in puppet-twitch.conf"
    assert check(enabled=False) == [Finding(NOTE, text, fix, by_hand=True)]


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
    "crl-of-one-ca": ("unable to get certificate CRL", "revocation = leaf"),
    "foreign": ("unable to get local issuer certificate", "tls.conf"),
    "no-root": ("unable to get issuer certificate", "tls.conf"),
    "another-key": ("'cert' and 'key' do not fit", "tls.conf"),
}


@pytest.mark.parametrize(("how", "text", "fix"), [(how, *rest) for how, rest in FAULTS.items()], ids=FAULTS)
def test_an_unusable_certificate_is_a_fault_with_a_fix(
    pki: PKI, credentials: Path, how: str, text: str, fix: str
) -> None:
    spoil(pki, credentials, how)
    if how == "foreign" and ssl.OPENSSL_VERSION_INFO < (3,):  # Debian 11 finds the CA by its name alone
        text = "certificate signature failure"
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
    (finding,) = expiry.check("CA 'x'", expires, "renew it")
    assert (finding.level, finding.text, finding.by_hand) == (level, text, level != GOOD)
    assert bool(finding.fix) == (level != GOOD)


# ---- CA and CRL as files


@pytest.fixture
def files(credentials: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return the configuration for the same files, of which two are no credentials."""
    paths = {name: os.fspath(credentials / name) for name in (tls.CERT, tls.KEY)}
    monkeypatch.setattr(systemd, "credentials", lambda unit: paths)
    monkeypatch.setattr(reading, "readable", lambda path, unit: os.path.exists(path))
    return Config(
        tls=True,
        tls_ca=os.fspath(credentials / "ca"),
        tls_crl=os.fspath(credentials / "crl"),
        puppet_path="/nonexistent",
    )


def findings(config: Config) -> list[Finding]:
    return list(certificates.check(config, UNIT))


def test_files_of_the_listener_have_no_faults(files: Config) -> None:
    assert texts(findings(files), FAULT) == []
    assert not any("is a credential" in text for text in texts(findings(files), NOTE))


@pytest.mark.parametrize("name", ["ca", "crl"])
def test_a_file_that_the_listener_may_not_read_is_a_fault(
    files: Config, credentials: Path, name: str
) -> None:
    (credentials / name).unlink()
    (finding,) = findings(files)
    assert finding.level == FAULT
    assert finding.text.startswith(f"TLS: {credentials}/{name} does not exist, or the listener may not read")


@pytest.mark.usefixtures("credentials")
def test_a_crl_that_is_a_credential_is_noted() -> None:
    (note,) = (text for text in texts(check(), NOTE) if "is a credential" in text)
    assert "a revocation takes effect minutes later" in note


def test_credentials_beyond_the_limit_of_systemd_are_a_fault(credentials: Path) -> None:
    with (credentials / "crl").open("a") as file:
        file.write("# padding\n" * 120_000)
    (fault,) = of_level(check(), FAULT)
    assert "and systemd allows 1048576, so it cannot start (243/CREDENTIALS)" in fault.text
    assert fault.fix == certificates.FILES


def drop_ins(directory: Path, monkeypatch: pytest.MonkeyPatch, **contents: str) -> list[Path]:
    """Let the unit have these drop-ins and no credentials."""
    paths = [directory / f"{name.replace('_', '-')}.conf" for name in contents]
    for path, text in zip(paths, contents.values()):
        path.write_text(text)
    monkeypatch.setattr(systemd, "credentials", lambda unit: {})
    monkeypatch.setattr(systemd, "show", lambda unit, name: " ".join(map(str, paths)))
    return paths


def test_a_drop_in_that_empties_the_credentials_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = "[Service]\nLoadCredential=cert:/c\nLoadCredential=key:/k\n"
    lxc = "[Service]\nProcSubset=all\nLoadCredential=\nPrivateNetwork=no\n"
    paths = drop_ins(tmp_path, monkeypatch, a="[Service]\nUMask=0\n", tls=ours, zzz_lxc_service=lxc)
    (finding,) = check()
    assert finding.text == (
        f"TLS: {paths[2]} has an empty LoadCredential=, which undoes those of {paths[1]},"
        " because its name sorts after it"
    )
    assert finding.fix == f"mv {paths[1]} {tmp_path}/zzz-tls.conf; systemctl daemon-reload"


def test_a_drop_in_that_empties_nothing_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_ins(tmp_path, monkeypatch, a="[Service]\nLoadCredential=\n", zzz="[Service]\nLoadCredential=\n")
    (finding,) = check()
    assert finding.text.startswith("TLS: missing cert (no LoadCredential=), key (no LoadCredential=)")


@pytest.mark.parametrize(
    ("ours", "puppets", "level", "text"),
    [
        ("chain", "chain", GOOD, "([tls] revocation = chain)"),
        ("chain", "true", GOOD, "([tls] revocation = chain)"),
        ("chain", "leaf", GOOD, "([tls] revocation = chain)"),
        ("leaf", "leaf", GOOD, "([tls] revocation = leaf)"),
        ("leaf", "chain", NOTE, "Puppet checks more (certificate_revocation = chain)"),
        ("no", "true", NOTE, "a revoked client certificate is accepted; Puppet checks more"),
        ("no", "false", NOTE, "a revoked client certificate is accepted"),
        ("leaf", "nonsense", GOOD, "([tls] revocation = leaf)"),
    ],
)
def test_revocation_is_compared_with_puppets(
    files: Config, monkeypatch: pytest.MonkeyPatch, ours: str, puppets: str, level: str, text: str
) -> None:
    puppet_settings(monkeypatch, {"certificate_revocation": puppets, "crl_refresh_interval": "1d"})
    found = findings(files._replace(tls_revocation=ours))
    (finding,) = (one for one in found if "[tls] revocation = " in one.text)
    assert finding.level == level
    assert finding.text.endswith(text) or text in finding.text
    assert bool(finding.fix) == (level == NOTE)


def test_a_ca_without_a_crl_is_noted_although_ours_is_good(
    pki: PKI, files: Config, credentials: Path
) -> None:
    (credentials / "ca").write_text(pki.bundle() + pki.self_signed("Other")[0].read_text())
    found = findings(files)
    assert texts(found, FAULT) == []
    # OpenSSL before 3.2 prints blanks around the equals sign.
    notes = [text.replace("CN = ", "CN=") for text in texts(found, NOTE)]
    assert any("has no CRL of the CA with subject=CN=Other" in text for text in notes)
    leaf = findings(files._replace(tls_revocation="leaf"))
    assert not any("has no CRL" in text for text in texts(leaf, NOTE))


def test_revocations_are_counted(pki: PKI, files: Config, credentials: Path) -> None:
    (credentials / "crl").write_text(pki.root.crl())
    leaf = files._replace(tls_revocation="leaf")
    assert any("ago; 0 certificates are revoked. " in text for text in texts(findings(leaf), GOOD))
    pki.root.revoke(pki.certificate("counted", by=pki.root)[0])
    (credentials / "crl").write_text(pki.root.crl())
    assert any("ago; 1 certificate is revoked. " in text for text in texts(findings(leaf), GOOD))


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (0, "less than a minute"),
        (61, "1 minute"),
        (3600, "1 hour"),
        (23.9 * 3600, "23 hours and 54 minutes"),
        (47 * 3600, "1 day and 23 hours"),
        (48 * 3600 + 61, "2 days"),
        (71.9 * 3600, "2 days and 23 hours"),
    ],
)
def test_ages_do_not_hide_hours(seconds: float, age: str) -> None:
    assert crls.age(seconds) == age
