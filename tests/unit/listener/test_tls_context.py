"""TLS is set up from files: everything that is needed, or a line that says which file is wrong and why."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Callable

import pytest

from tests.unit.pki import PKI
from twitch.config import Config
from twitch.errors import ConfigError
from twitch.listener import tls, tls_context


def paths(directory: Path) -> tls.Files:
    return tls.Files(*(os.fspath(directory / name) for name in tls.CREDENTIALS))


def trust(directory: Path, **settings: str) -> tls_context.Trust:
    config = Config(tls=True, **{f"tls_{name}": value for name, value in settings.items()})  # type: ignore[arg-type]
    files = paths(directory)
    return tls_context.trust(config, files._replace(crl=None) if config.tls_revocation == "no" else files)


# ---- the context


def test_version_tickets_and_ciphers(credentials: Path) -> None:
    context = trust(credentials).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.num_tickets == 0


REVOCATION = {
    "chain": ssl.VERIFY_CRL_CHECK_CHAIN,
    "leaf": ssl.VERIFY_CRL_CHECK_LEAF,
    "no": ssl.VerifyFlags(0),
}


@pytest.mark.parametrize(("revocation", "flags"), REVOCATION.items(), ids=REVOCATION)
def test_revocation_decides_which_crls_are_needed(
    credentials: Path, revocation: str, flags: ssl.VerifyFlags
) -> None:
    made = trust(credentials, revocation=revocation)
    assert made.context.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN == flags
    assert bool(made.crls) == (revocation != "no")


@pytest.mark.parametrize(
    ("client", "mode"), [("optional", ssl.CERT_OPTIONAL), ("required", ssl.CERT_REQUIRED)]
)
def test_whether_clients_must_show_a_certificate(
    credentials: Path, client: str, mode: ssl.VerifyMode
) -> None:
    assert trust(credentials, client=client).context.verify_mode is mode


BAD = {
    "cert-missing": ("cert", None, "'cert' and 'key' do not fit: No such file"),
    "cert-empty": ("cert", b"", "'cert' and 'key' do not fit"),
    "cert-garbage": ("cert", b"-----BEGIN CERTIFICATE-----\nx\n", "'cert' and 'key' do not fit"),
    "key-empty": ("key", b"", "'cert' and 'key' do not fit"),
    "ca-missing": ("ca", None, r"the ca \S+ cannot be read: No such file or directory"),
    "ca-empty": ("ca", b"", r"the ca \S+ is not usable"),
    "ca-garbage": ("ca", os.urandom(100), r"the ca \S+ is not usable"),
    "crl-missing": ("crl", None, r"the crl \S+ cannot be read: No such file or directory"),
    "crl-empty": ("crl", b"", r"the crl \S+ is not usable: it has no CRL"),
    "crl-half": ("crl", b"-----BEGIN X509 CRL-----\nMIIB", r"the crl \S+ is not usable: it has no CRL"),
    "crl-cut-inside": (
        "crl",
        b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n",
        r"the crl \S+ is not usable: a CRL is cut short",
    ),
    "crl-not-base64": (
        "crl",
        b"-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n",
        r"the crl \S+ is not usable",
    ),
}


@pytest.mark.parametrize(("name", "content", "text"), BAD.values(), ids=BAD)
def test_a_file_that_is_not_usable_is_named(
    credentials: Path, name: str, content: bytes | None, text: str
) -> None:
    if content is None:
        (credentials / name).unlink()
    else:
        (credentials / name).write_bytes(content)
    with pytest.raises(ConfigError, match=text) as caught:
        trust(credentials)
    assert "\n" not in str(caught.value)


def test_a_crl_file_with_certificates_adds_no_ca(pki: PKI, credentials: Path) -> None:
    (credentials / "crl").write_text(pki.crls() + pki.foreign.cert.read_text())
    with pytest.raises(ConfigError, match="is not usable: it has certificates"):
        trust(credentials)


def test_a_crl_file_may_have_comments(pki: PKI, credentials: Path) -> None:
    (credentials / "crl").write_text("# padding\n" * 200_000 + pki.crls())
    assert not trust(credentials).fault


def test_a_key_of_another_certificate(pki: PKI, credentials: Path) -> None:
    (credentials / "key").write_bytes(pki.certificate("other")[1].read_bytes())
    with pytest.raises(ConfigError, match="'cert' and 'key' do not fit: KEY_VALUES_MISMATCH"):
        trust(credentials)


def test_an_encrypted_key_is_a_fault_and_no_question_to_the_terminal(pki: PKI, credentials: Path) -> None:
    pki.root._openssl("req", "-new", "-newkey", "rsa:2048", "-passout", "pass:secret", "-subj", "/CN=a",
                      "-keyout", credentials / "key", "-out", credentials / "request")  # fmt: skip
    with pytest.raises(ConfigError, match="'cert' and 'key' do not fit"):
        trust(credentials)


# ---- CRLs that keep every certificate from being verified


CRLS: dict[str, tuple[Callable[[PKI], str], str, str]] = {
    "expired": (
        lambda pki: pki.authority.crl(until="200101000000Z") + pki.root.crl(), "chain", "CRL has expired"
    ),
    "expired-of-the-root": (
        lambda pki: pki.authority.crl() + pki.root.crl(until="200101000000Z"), "chain", "CRL has expired"
    ),
    "expired-of-the-root-with-leaf": (
        lambda pki: pki.authority.crl() + pki.root.crl(until="200101000000Z"), "leaf", ""
    ),
    "expired-of-another-ca": (
        lambda pki: pki.crls() + pki.root.crl(until="200101000000Z"), "chain", ""
    ),
    "of-one-ca": (lambda pki: pki.authority.crl(), "chain", "unable to get certificate CRL"),
    "of-one-ca-with-leaf": (lambda pki: pki.authority.crl(), "leaf", ""),
    "of-the-root-with-leaf": (lambda pki: pki.root.crl(), "leaf", "unable to get certificate CRL"),
}  # fmt: skip


@pytest.mark.parametrize("how", CRLS)
def test_a_crl_that_verifies_no_certificate_is_a_fault(pki: PKI, credentials: Path, how: str) -> None:
    crls, revocation, reason = CRLS[how]
    (credentials / "crl").write_text(crls(pki))
    fault = trust(credentials, revocation=revocation).fault
    expected = f"[tls] the crl {credentials}/crl verifies no certificate: {reason}" if reason else ""
    assert fault == expected


def test_a_certificate_of_another_ca_is_no_fault_of_the_crl(pki: PKI, credentials: Path) -> None:
    pki.hand_over(credentials, *pki.certificate("foreign", by=pki.foreign))
    (credentials / "crl").write_text(pki.crls() + pki.foreign.crl(until="200101000000Z"))
    assert not trust(credentials).fault
