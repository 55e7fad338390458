"""Another date for a CRL: `openssl ca` of OpenSSL 1.1 (Debian 11) dates every CRL from now on."""

from __future__ import annotations

import base64
import ssl
import subprocess
from pathlib import Path

SEQUENCE, BIT_STRING, UTC_TIME, GENERALIZED_TIME = 0x30, 0x03, 0x17, 0x18


def redate(pem: str, key: Path, since: str, until: str) -> str:
    """Return the CRL with other dates (`200101000000Z`), signed with this key again (RFC 5280, 5.1)."""
    content = "".join(line for line in pem.splitlines() if not line.startswith("---"))
    ((_, whole),) = _values(base64.b64decode(content))
    (_, unsigned), algorithm, _ = _values(whole)
    version, signature, issuer, _, _, *rest = _values(unsigned)
    dates = [(GENERALIZED_TIME if len(date) > 13 else UTC_TIME, date.encode()) for date in (since, until)]
    dated = _sequence(version, signature, issuer, *dates, *rest)
    sign = ["openssl", "dgst", "-sha256", "-sign", str(key)]
    signed = subprocess.run(sign, input=dated, capture_output=True, check=True).stdout
    der = _sequence(*_values(dated), algorithm, (BIT_STRING, b"\0" + signed))
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "X509 CRL")


def _values(der: bytes) -> list[tuple[int, bytes]]:
    """Return the tags and contents of a row of DER values."""
    values = []
    while der:
        tag, length, start = der[0], der[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(der[2:start], "big")
        values.append((tag, der[start : start + length]))
        der = der[start + length :]
    return values


def _sequence(*values: tuple[int, bytes]) -> bytes:
    """Return a DER sequence of these values."""
    return _value(SEQUENCE, b"".join(_value(tag, content) for tag, content in values))


def _value(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content
