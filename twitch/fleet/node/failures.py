"""What went wrong on the way to a node, from the errors of aiohttp: a kind, one line, and whether the request
can have arrived."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Optional

import aiohttp

from twitch.fleet.node.answers import GARBAGE, REFUSED, RESET, TIMEOUT, TLS, NotReached

# [SSL: NAME] text (_ssl.c:992), as Python's ssl writes it.
TLS_ERROR = re.compile(r"\[SSL(?:: (\w+))?\] (.+?)(?: \(_ssl\.c:|\]$|$)", re.DOTALL)


def failure(error: BaseException, *, port: int, sent: bool, connect_s: float, answer_s: float) -> NotReached:
    """Return what went wrong, for people.

    `sent`: there was a connection, so the request can have arrived, unless the error says that it has not.
    """
    tls = _tls_failure(error, sent=sent)
    if tls:
        return tls
    if isinstance(error, asyncio.TimeoutError):
        if not sent:
            return NotReached(f"no connection to port {port} within {connect_s:g} s", TIMEOUT, sent=False)
        return NotReached(f"no answer within {answer_s:g} s", TIMEOUT, sent=True)
    if not sent:
        return NotReached(f"port {port}: {_system_error(error)}", REFUSED, sent=False)
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.InvalidURL, ValueError)):
        text = "the answer is not HTTP; another program listens there"
        return NotReached(f"port {port}: {text}", GARBAGE, sent=True)
    if isinstance(error, aiohttp.ClientPayloadError):
        return NotReached("the answer ended before its end", RESET, sent=True)
    return NotReached("the connection was closed before the answer", RESET, sent=True)


def _tls_failure(error: BaseException, *, sent: bool) -> Optional[NotReached]:
    """Return what TLS says, by the text of its error: aiohttp keeps the text, but not always the class."""
    found = TLS_ERROR.search(str(error))
    if not found or (sent and found[1] == "UNEXPECTED_EOF_WHILE_READING"):
        return None
    name, text = found[1] or "", found[2]
    if name == "CERTIFICATE_VERIFY_FAILED":
        # It names the name that was expected, or says what is wrong with the chain.
        why = text.partition("certificate verify failed: ")[2] or text
        if "issuer certificate" in why or "self-signed" in why or "self signed" in why:
            why = "it is of another CA than ours; see --ca"
        return NotReached(f"TLS: the certificate of the node: {why}", TLS, sent=False)
    alert = text.partition(" alert ")[2]
    if alert:
        # An alert of the handshake: in TLS 1.3, a client learns that its certificate is refused when it
        # already has a connection. The node has read nothing of the request then.
        return NotReached(f"TLS: the node refuses us: {alert}", TLS, sent=False)
    if name in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG") and not sent:
        return NotReached("the port has no TLS; --plain-http if that is on purpose", TLS, sent=False)
    return NotReached(f"TLS: {text}", TLS, sent=sent)


def _system_error(error: BaseException) -> str:
    """Return what the system said: of several addresses, about the first."""
    number = getattr(error, "errno", None)
    found = re.search(r"\[Errno (\d+)\]", str(error))
    if number is None and found:
        number = int(found[1])
    if number is None:
        return str(error) or type(error).__name__
    return os.strerror(number).lower()
