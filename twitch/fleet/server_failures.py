"""Why a server beside the nodes, PuppetDB or a puppetserver, does not answer, in the words of an operator."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from typing import Optional

import aiohttp

from twitch.texts import one_line


def reason(error: BaseException, url: str, *, certificate: object, connect_s: float, answer_s: float) -> str:
    """Return why there is no answer, and what to do.

    `certificate` is the file of the client's certificate, or None. PuppetDB 8.4.1 closes the connection after
    the handshake if the client has no certificate of its CA.
    """
    if isinstance(error, aiohttp.ServerTimeoutError):
        return f"no connection in {connect_s:g} s"
    if isinstance(error, asyncio.TimeoutError):
        return f"no answer in {answer_s:g} s"
    tls = _of_tls(error)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return f"its certificate is not valid here: {one_line(tls.verify_message)}; see --ca"
    if tls is not None and "WRONG_VERSION_NUMBER" in str(tls):
        return "it has no TLS; is its URL one with http://?"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _of_connecting(error.os_error)
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.InvalidURL)):
        return "the answer is not HTTP; is its URL one with https://?"
    if url.startswith("https:") and isinstance(error, (aiohttp.ServerDisconnectedError, OSError)):
        if certificate is None:
            return "it closed the connection, as it does to clients without a certificate; see --cert"
        return f"it closed the connection; is {certificate} of the CA of this server, and not revoked?"
    return _plain(str(error)) or type(error).__name__


def _of_tls(error: BaseException) -> Optional[ssl.SSLError]:
    """Return the error of TLS behind an error of aiohttp, if there is one."""
    for one in (getattr(error, "certificate_error", None), getattr(error, "os_error", None), error):
        if isinstance(one, ssl.SSLError):
            return one
    return None


def _of_connecting(error: OSError) -> str:
    """Return why there is no connection.

    asyncio's text is "Connect call failed" whatever the reason is; if a name has several addresses, the text
    has all errors in it.
    """
    found = re.search(r"\[Errno ([0-9]+)\]", str(error))
    number = int(found[1]) if found else error.errno
    if number is not None and number > 0:
        return os.strerror(number).lower()
    return _plain(error.strerror or str(error))  # of DNS


def _plain(text: str) -> str:
    """Return a text of the system without what only a programmer reads."""
    return one_line(text.split(" (_ssl.c", 1)[0].strip())
