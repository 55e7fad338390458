"""The files of simulated nodes and of their operator: certificates of a CA of this run, and a token.

All keys are EC keys: with RSA keys of Puppet's default length the simulator would be what is measured. The
certificate of all nodes is one for *.fleet.test, so that ten thousand need not be made.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.fleet_nodes.scene import DOMAIN
from tests.unit.pki import PKI
from twitch.listener import tokens

OPERATOR = "operator"
GRANTS = "trigger noop tags environment=* status logs cancel disable"
# Plain HTTP is for benches and tests of the client: there the token is accepted as well.
CONFIG = f"""\
[access]
plaintext_tokens = yes
cooldown = 0
anonymous = {{anonymous}}
cert:{OPERATOR} = {GRANTS}
token:{OPERATOR} = {GRANTS}
"""


class Credentials(NamedTuple):
    """What an operator has: the certificate and the key only with TLS."""

    token: str
    ca: Path
    cert: Path
    key: Path


def make(directory: Path, *, tls: bool, anonymous: str) -> Credentials:
    """Write the files of the nodes into a directory, and return those of the operator."""
    token, line = tokens.new(OPERATOR)
    (directory / "tokens").write_text(line + "\n")
    (directory / "puppet-twitch.conf").write_text(CONFIG.format(anonymous=anonymous))
    if tls:
        pki = PKI(directory)
        pki.certificate("node", f"/CN=*.{DOMAIN}", names=(f"*.{DOMAIN}",))
        pki.certificate("impostor", f"/CN=*.{DOMAIN}", names=(f"*.{DOMAIN}",), by=pki.foreign)
        pki.certificate(OPERATOR)
        (directory / "ca.pem").write_text(pki.bundle())
    return Credentials(
        token, *(directory / name for name in ("ca.pem", f"{OPERATOR}.pem", f"{OPERATOR}.key"))
    )
