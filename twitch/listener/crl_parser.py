"""Certificate revocation lists (RFC 5280 section 5) as far as `ssl` does not show them: dates and serials.

OpenSSL verifies signatures and decides about certificates. This module only reads what root has written.
"""

from __future__ import annotations

import binascii
import calendar
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

PEM = re.compile(rb"-----BEGIN X509 CRL-----(.*?)-----END X509 CRL-----", re.DOTALL)

INTEGER, SEQUENCE, UTC_TIME, GENERALIZED_TIME = 0x02, 0x30, 0x17, 0x18
# What follows the serial number in an entry: a date with its usual length.
DATES = (bytes((UTC_TIME, 13)), bytes((GENERALIZED_TIME, 15)))


class Element(NamedTuple):
    """An element of DER (ITU-T X.690): its tag, and the first and last index of its content."""

    tag: int
    start: int
    end: int


class CRL(NamedTuple):
    """One list."""

    der: bytes
    issuer: bytes  # a Name in DER
    expires_s: Optional[int]  # in epoch seconds; None if it never expires

    def lists(self, serial: str) -> bool:
        """Return whether a serial number, in hexadecimal as `ssl` shows it, is in the list.

        A false answer can only be True. So is the answer for a serial number that RFC 5280 does not allow.
        """
        try:
            number = bytes.fromhex(serial.zfill(len(serial) + len(serial) % 2)).lstrip(b"\0") or b"\0"
        except ValueError:
            return True
        if number[0] & 0x80:
            number = b"\0" + number
        entry = bytes((INTEGER, len(number))) + number
        return any(entry + date in self.der for date in DATES)

    def is_by(self, issuer: Iterable[str]) -> bool:
        """Return whether the name of the issuer has all these values; their order is not compared."""
        return all(value.encode() in self.issuer for value in issuer)

    def revocations(self) -> int:
        """Return how many certificates are revoked, by walking over all entries."""
        fields = list(_elements(self.der, _element(self.der, _element(self.der, 0).start)))
        # The revocations are the only SEQUENCE after the first two: dates and [0] crlExtensions are none.
        sequences = [field for field in fields if field.tag == SEQUENCE]
        # The first two are signature and issuer.
        return sum(1 for _ in _elements(self.der, sequences[2])) if len(sequences) > 2 else 0


def read(pem: bytes) -> tuple[CRL, ...]:
    """Return the lists of a PEM file; raises `ValueError` for one that is malformed."""
    lists = []
    for match in PEM.finditer(pem):
        der = binascii.a2b_base64(match[1])
        try:
            lists.append(_read_one(der))
        except (IndexError, StopIteration) as error:
            raise ValueError("a CRL is cut short") from error
    return tuple(lists)


def _read_one(der: bytes) -> CRL:
    """Return a CertificateList; raises `ValueError`, `IndexError` or `StopIteration`."""
    outer = _element(der, 0)
    if outer.tag != SEQUENCE or outer.end != len(der):
        raise ValueError("a CRL is cut short")
    fields = _elements(der, _element(der, outer.start))
    # version (optional), signature, issuer, thisUpdate, nextUpdate (optional), revokedCertificates (optional)
    field = next(fields)
    if field.tag == INTEGER:
        field = next(fields)
    issuer, _this_update = next(fields), next(fields)
    following = next(fields, None)
    expires_s = None
    if following and following.tag in (UTC_TIME, GENERALIZED_TIME):
        expires_s = _seconds(der[following.start : following.end].decode("ascii"), following.tag)
    return CRL(der, der[issuer.start : issuer.end], expires_s)


def _seconds(text: str, tag: int) -> int:
    """Return epoch seconds of YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ (RFC 5280 section 5.1.2.4)."""
    if tag == UTC_TIME:
        text = f"{'19' if text >= '50' else '20'}{text}"
    if not re.fullmatch("[0-9]{14}Z", text):
        raise ValueError(f"a CRL has an unknown date, {text}")
    fields = [int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))]
    return calendar.timegm((*fields, 0, 0, 0))


def _elements(der: bytes, outer: Element) -> Iterator[Element]:
    at = outer.start
    while at < outer.end:
        element = _element(der, at)
        yield element
        at = element.end


def _element(der: bytes, at: int) -> Element:
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > len(der):
        raise IndexError
    return Element(tag, start, start + length)
