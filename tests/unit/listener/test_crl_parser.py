"""CRLs: the dates and serial numbers that `ssl` does not show, compared with what openssl says."""

from __future__ import annotations

import binascii
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pki import PKI
from twitch.listener import crl_parser


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


def serial(cert: Path) -> str:
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", cert], capture_output=True, text=True
    )
    return shown.stdout.strip().partition("=")[2]


def pem(der: bytes) -> bytes:
    return b"-----BEGIN X509 CRL-----\n" + binascii.b2a_base64(der) + b"-----END X509 CRL-----\n"


def test_every_list_of_a_file_is_read(pki: PKI) -> None:
    text = f"# a comment\n{pki.crls()}\nmore text\n{pki.foreign.crl()}"
    lists = crl_parser.read(text.encode())
    assert len(lists) == 3
    for one in lists:
        assert one.expires_s is not None
        assert abs(one.expires_s - time.time() - 30 * 86400) < 3600


@pytest.mark.parametrize(
    ("until", "expires"),
    [("200101000000Z", 1577836800), ("21000101000000Z", 4102444800)],
    ids=["utc", "general"],
)
def test_both_kinds_of_dates(pki: PKI, until: str, expires: int) -> None:
    (one,) = crl_parser.read(pki.authority.crl(until=until).encode())
    assert one.expires_s == expires


def test_revoked_serials_are_listed_and_others_not(pki: PKI) -> None:
    revoked, good = pki.certificate("revoked")[0], pki.certificate("good")[0]
    pki.authority.revoke(revoked)
    for number in ("7F", "80", "FF00", "0102030405060708090A0B0C0D0E0F10"):  # with and without a sign byte
        with (pki.authority.directory / "index").open("a") as index:
            index.write(f"R\t400101000000Z\t200101000000Z\t{number}\tunknown\t/CN=x\n")
    (one,) = crl_parser.read(pki.authority.crl().encode())
    assert one.revocations() == 5
    assert one.lists(serial(revoked))
    for number in ("7F", "80", "FF00", "0102030405060708090A0B0C0D0E0F10", "00FF00"):
        assert one.lists(number)
    assert not one.lists(serial(good))
    for number in ("01", "FF", "0102030405060708090A0B0C0D0E0F", "7F7F"):
        assert not one.lists(number)


@pytest.mark.parametrize("number", ["-01", "xyz", "None"])
def test_a_serial_that_cannot_be_is_taken_for_revoked(pki: PKI, number: str) -> None:
    (one,) = crl_parser.read(pki.root.crl().encode())
    assert one.lists(number)


def test_an_empty_list_revokes_nothing(pki: PKI) -> None:
    (one,) = crl_parser.read(pki.foreign.crl().encode())
    assert one.revocations() == 0


def test_a_list_without_next_update_never_expires() -> None:
    # CertificateList { tbsCertList { signature, issuer, thisUpdate }, signatureAlgorithm, signatureValue }
    tbs = bytes.fromhex("3000 3000 170d") + b"200101000000Z"
    whole = bytes((0x30, len(tbs))) + tbs
    (one,) = crl_parser.read(pem(bytes((0x30, len(whole))) + whole))
    assert (one.expires_s, one.revocations()) == (None, 0)


def test_every_cut_is_malformed(pki: PKI) -> None:
    der = crl_parser.read(pki.root.crl().encode())[0].der
    for length in range(len(der)):
        with pytest.raises(ValueError, match=r"CRL|Incorrect padding|Invalid base64|unknown date"):
            crl_parser.read(pem(der[:length]))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_malformed(der: bytes) -> None:
    for candidate in (der, bytes((0x30, len(der) & 0x7F)) + der):
        try:
            lists = crl_parser.read(pem(candidate))
        except ValueError:
            continue
        assert len(lists) == 1
