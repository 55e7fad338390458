"""What systemd hands over for TLS: everything that is needed, or a line that says what is not right."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from tests.unit.pki import PKI
from twitch.config import Config, load
from twitch.errors import ConfigError
from twitch.listener import tls
from twitch.listener.watched import Watched


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def credentials(pki: PKI, tmp_path: Path) -> Path:
    return pki.hand_over(tmp_path / "credentials", *pki.certificate("node"))


def test_versions_tickets_and_crl(credentials: Path) -> None:
    context = tls.context("optional", os.fspath(credentials))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.num_tickets == 0
    assert context.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN
    strong = ("TLSv1.3", "TLSv1.2")
    for cipher in context.get_ciphers():
        assert cipher["protocol"] in strong
        assert cipher["aead"]


@pytest.mark.parametrize(
    ("client", "mode"), [("optional", ssl.CERT_OPTIONAL), ("required", ssl.CERT_REQUIRED)]
)
def test_whether_clients_must_show_a_certificate(
    credentials: Path, client: str, mode: ssl.VerifyMode
) -> None:
    assert tls.context(client, os.fspath(credentials)).verify_mode is mode


@pytest.mark.parametrize("name", tls.CREDENTIALS)
def test_a_credential_that_is_missing_is_named(credentials: Path, name: str) -> None:
    (credentials / name).unlink()
    with pytest.raises(ConfigError, match=f"no credential '{name}'; see tls.conf"):
        tls.context("optional", os.fspath(credentials))


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tls.DIRECTORY, raising=False)
    with pytest.raises(ConfigError, match=r"no credential 'cert'; see tls\.conf"):
        tls.context("optional")


BAD = {
    "cert-empty": ("cert", b"", "'cert' and 'key' do not fit"),
    "cert-garbage": ("cert", b"-----BEGIN CERTIFICATE-----\nx\n", "'cert' and 'key' do not fit"),
    "key-empty": ("key", b"", "'cert' and 'key' do not fit"),
    "ca-empty": ("ca", b"", "'ca' is not usable"),
    "ca-garbage": ("ca", os.urandom(100), "'ca' is not usable"),
    "crl-empty": ("crl", b"", "'crl' is not usable"),
    "crl-half": ("crl", b"-----BEGIN X509 CRL-----\nMIIB", "'crl' is not usable"),
}


@pytest.mark.parametrize(("name", "content", "said"), BAD.values(), ids=BAD)
def test_a_credential_that_is_not_usable_is_named(
    credentials: Path, name: str, content: bytes, said: str
) -> None:
    (credentials / name).write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        tls.context("optional", os.fspath(credentials))
    assert "\n" not in str(caught.value)


def test_a_key_of_another_certificate(pki: PKI, credentials: Path) -> None:
    (credentials / "key").write_bytes(pki.certificate("other")[1].read_bytes())
    with pytest.raises(ConfigError, match="'cert' and 'key' do not fit: KEY_VALUES_MISMATCH"):
        tls.context("optional", os.fspath(credentials))


def test_an_encrypted_key_is_a_fault_and_no_question_to_the_terminal(pki: PKI, credentials: Path) -> None:
    pki.root._openssl("req", "-new", "-newkey", "rsa:2048", "-passout", "pass:secret", "-subj", "/CN=a",
                      "-keyout", credentials / "key", "-out", credentials / "request")  # fmt: skip
    with pytest.raises(ConfigError, match="'cert' and 'key' do not fit"):
        tls.context("optional", os.fspath(credentials))


# ---- what the listener asks at each connection


@pytest.fixture
def contexts(tmp_path: Path) -> tls.Contexts:
    return tls.Contexts(Watched[Config](os.fspath(tmp_path / "puppet-twitch.conf"), load))


def test_the_configuration_counts_at_once(
    contexts: tls.Contexts, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tls.DIRECTORY, os.fspath(credentials))
    config = credentials.parent / "puppet-twitch.conf"
    config.write_text("# The defaults apply.\n")
    assert contexts.current() is None
    config.write_text("[tls]\nenabled = yes\n")
    optional = contexts.current()
    assert optional is not None
    assert optional.verify_mode is ssl.CERT_OPTIONAL
    assert contexts.current() is optional
    config.write_text("[tls]\nenabled = yes\nclient = required\n")
    required = contexts.current()
    assert required is not None
    assert required.verify_mode is ssl.CERT_REQUIRED
    config.write_text("[tls]\nenabled = no\n")
    assert contexts.current() is None
    config.write_text("[tls]\nenabled = perhaps\n")
    with pytest.raises(ConfigError, match="perhaps"):
        contexts.current()


def test_a_fault_is_logged_once_and_heals(
    contexts: tls.Contexts,
    credentials: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(tls.DIRECTORY, os.fspath(credentials))
    (credentials.parent / "puppet-twitch.conf").write_text("[tls]\nenabled = yes\n")
    key = (credentials / "key").read_bytes()
    (credentials / "key").unlink()
    for _ in range(3):
        with pytest.raises(ConfigError, match="no credential 'key'"):
            contexts.current()
    assert len(caplog.records) == 1
    (credentials / "key").write_bytes(key)
    assert contexts.current() is not None
