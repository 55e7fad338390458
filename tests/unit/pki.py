"""A public key infrastructure like Puppet's, made by openssl: a root, an intermediate CA, their CRLs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.unit.redate import redate

CONFIG = """\
[ca]
default_ca = this
[this]
dir = {directory}
database = $dir/index
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir
certificate = $dir/ca.pem
private_key = $dir/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
unique_subject = no
copy_extensions = copy
policy = any
preserve = yes
x509_extensions = leaf
[any]
commonName = optional
organizationName = optional
[req]
distinguished_name = any
[leaf]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
"""

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A CA, with an issuer above it or self-signed."""

    def __init__(self, directory: Path, name: str, issuer: Authority | None = None) -> None:
        directory.mkdir()
        self.directory = directory
        self.cert, self.key = directory / "ca.pem", directory / "ca.key"
        (directory / "openssl.cnf").write_text(CONFIG.format(directory=directory))
        (directory / "index").touch()
        for number in ("serial", "crlnumber"):
            (directory / number).write_text("1000\n")
        if issuer:
            issuer.issue(f"/CN={name}", self.cert, self.key, extensions="authority")
        else:
            self._openssl(
                *("req", "-x509", *KEY, "-keyout", self.key, "-out", self.cert, "-subj", f"/CN={name}"),
                *("-days", "30", "-extensions", "authority"),
            )

    def issue(
        self,
        subject: str,
        cert: Path,
        key: Path,
        *,
        extensions: str = "leaf",
        until: str | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """Issue a certificate, its dates as `openssl ca` has them (`200101000000Z`), with names of hosts."""
        request = cert.with_suffix(".csr")
        hosts = ",".join(f"DNS:{name}" for name in names)
        more = ("-addext", f"subjectAltName={hosts}") if hosts else ()
        self._openssl("req", "-new", *KEY, "-keyout", key, "-out", request, "-subj", subject, *more)
        dates = ("-startdate", "190101000000Z", "-enddate", until) if until else ()
        self._openssl(
            "ca", "-batch", "-notext", "-in", request, "-out", cert, "-extensions", extensions, *dates
        )

    def revoke(self, cert: Path) -> None:
        """Revoke a certificate, from the next CRL on."""
        self._openssl("ca", "-revoke", cert)

    def crl(self, *, until: str | None = None) -> str:
        """Return the CRL of this moment, which is valid for 30 days or until then (`200101000000Z`)."""
        crl = self._openssl("ca", "-gencrl")
        return redate(crl, self.key, "190101000000Z", until) if until else crl

    def revoke_many(self, count: int) -> None:
        """Revoke so many certificates that were never issued, each with a reason as Puppet gives one."""
        with (self.directory / "index").open("a") as index:
            for number in range(0x100000, 0x100000 + count):
                index.write(f"R\t400101000000Z\t200101000000Z,keyCompromise\t{number:X}\tunknown\t/CN=x\n")

    def _openssl(self, *arguments: str | Path) -> str:
        config = ("-config", self.directory / "openssl.cnf")
        command = ("openssl", arguments[0], *config, *arguments[1:])
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


class PKI:
    """Root and intermediate, and files as systemd would hand them over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = Authority(directory / "root", "Root")
        self.authority = Authority(directory / "authority", "Authority", self.root)
        self.foreign = Authority(directory / "foreign", "Authority")

    def certificate(
        self,
        name: str,
        subject: str | None = None,
        *,
        by: Authority | None = None,
        until: str | None = None,
        names: Sequence[str] = (),
    ) -> tuple[Path, Path]:
        """Return a new certificate, and its key; `names` are those of hosts (subjectAltName)."""
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        (by or self.authority).issue(subject or f"/CN={name}", cert, key, until=until, names=names)
        return cert, key

    def self_signed(self, name: str) -> tuple[Path, Path]:
        """Return a certificate that nobody else has signed."""
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        self.root._openssl("req", "-x509", *KEY, "-keyout", key, "-out", cert, "-subj", f"/CN={name}")
        return cert, key

    def hand_over(self, directory: Path, cert: Path, key: Path) -> Path:
        """Write what LoadCredential= shows to the listener; the CRLs are those of this moment."""
        directory.mkdir(exist_ok=True)
        (directory / "cert").write_bytes(cert.read_bytes())
        (directory / "key").write_bytes(key.read_bytes())
        (directory / "ca").write_text(self.bundle())
        (directory / "crl").write_text(self.crls())
        return directory

    def bundle(self) -> str:
        """Return the certificates of both CAs, as Puppet's ca.pem has them."""
        return self.authority.cert.read_text() + self.root.cert.read_text()

    def crls(self) -> str:
        """Return the CRLs of both CAs of this moment, as Puppet's crl.pem has them."""
        return self.authority.crl() + self.root.crl()
