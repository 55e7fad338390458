"""How to reach the nodes, and as whom: the port, TLS, a certificate, a token.

A token or certificate is looked for in the options, in ~/.config/puppet-twitch/, and as root in Puppet's own
directories. Nothing is looked for in the environment, and no credential is ever in a text.
"""

from __future__ import annotations

import functools
import os
import re
import ssl
import stat
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple, Optional

from twitch.errors import UsageError

PORT = 2023

# Below the directory of the user, the names that are looked for.
CERT, KEY, CA, TOKEN = "cert.pem", "key.pem", "ca.pem", "token"

# Puppet takes up to two seconds to print its settings, and ten times that on a small machine under load.
PUPPET_S = 60

# Puppet's CA, where a machine has an agent: of the vendor's packages (which everybody can read), of Debian's.
CA_FILES = (Path("/etc/puppetlabs/puppet/ssl/certs/ca.pem"), Path("/var/lib/puppet/ssl/certs/ca.pem"))

# A token as `puppet-twitch token` prints it, or any other that RFC 6750 allows; alone in its file, or as the
# header that `curl -H @FILE` sends.
TOKEN_FILE = re.compile(r"\s*(?:Authorization:\s*Bearer\s+)?([A-Za-z0-9._~+/-]{1,512}=*)\s*", re.IGNORECASE)
MAX_TOKEN_FILE_BYTES = 4096

# ssl.VERIFY_X509_PARTIAL_CHAIN, which Python has from 3.10 on, and by default from 3.13 on: a chain ends at
# the first certificate that is in the CA file, so Puppet's intermediate CA is not verified once more for each
# node (0.13 of 1.85 ms of a trigger with OpenSSL 3.0).
PARTIAL_CHAIN = 0x80000


class Access(NamedTuple):
    """How to reach the nodes, and as whom."""

    port: int = PORT
    tls: Optional[ssl.SSLContext] = None  # None: plain HTTP
    token: Optional[str] = None

    def __repr__(self) -> str:
        """Return the access without its token, which no log and no traceback may show."""
        kind = "https" if self.tls else "http"
        return f"Access({kind}, port {self.port}, {'a' if self.token else 'no'} token)"


class Files(NamedTuple):
    """The files of a caller."""

    ca: Optional[Path] = None
    cert: Optional[Path] = None
    key: Optional[Path] = None
    token: Optional[Path] = None
    puppets: bool = False  # Puppet's own, with the modes that Puppet gives them


def access(options: Namespace) -> Access:
    """Return how to reach the nodes, by the options of `options.add_as_whom`; raises `UsageError`."""
    if options.plain_http:
        return _plain(options)
    files = credentials(options)
    token = None if files.token is None else read_token(files.token)
    return Access(options.port, tls(files), token)


def _plain(options: Namespace) -> Access:
    if options.cert or options.key or options.ca:
        raise UsageError("--plain-http has no TLS, so --cert, --key and --ca do not go with it")
    if not options.token_file:
        return Access(options.port)  # a token in the user's directory is not sent: nobody asked for that
    if not options.clear_text_token:
        raise UsageError(
            "--plain-http would send the token in clear text, and everybody on the way could use it;"
            " leave out --plain-http, or add --clear-text-token if nobody can listen"
        )
    return Access(options.port, token=read_token(Path(options.token_file)))


def credentials(options: Namespace) -> Files:
    """Return the files of the caller; raises `UsageError` with what to do if there are none.

    With the certificate of the CA alone, the caller is anonymous, over TLS.
    """
    own = directory()
    ca = _path(options.ca) or _present(own / CA)
    if options.cert or options.key or options.token_file:
        cert, key, token = (_path(text) for text in (options.cert, options.key, options.token_file))
        if bool(cert) != bool(key):
            raise UsageError("--cert and --key belong together: a certificate, and its private key")
    else:
        cert, key, token = (_present(own / name) for name in (CERT, KEY, TOKEN))
        if bool(cert) != bool(key):
            missing = own / (KEY if cert else CERT)
            raise UsageError(f"{missing} is missing: a certificate and its private key belong together")
    if ca and (cert or token or options.ca):
        return Files(ca, cert, key, token)
    host = of_this_host()
    if host and not cert and not token:
        return host._replace(ca=ca or host.ca)
    if not ca and not cert and not token:
        raise UsageError(
            f"No certificate and no token in {own}; see puppet-twitch-fleet(1), CERTIFICATES, for how to make"
            " them, or use --plain-http if the port of the nodes has no TLS"
        )
    ca = ca or (host.ca if host else next(filter(None, map(_present, CA_FILES)), None))
    if not ca:
        advice = f"name it with --ca, or copy /etc/puppetlabs/puppet/ssl/certs/ca.pem of a node to {own / CA}"
        raise UsageError(f"No certificate of Puppet's CA; {advice}")
    return Files(ca, cert, key, token)


def directory() -> Path:
    """Return where the certificate and the token of the user are."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification wants relative paths to be ignored.
    base = Path(configured) if os.path.isabs(configured) else Path("~/.config").expanduser()
    return base / "puppet-twitch"


@functools.cache  # Puppet is asked once
def of_this_host() -> Optional[Files]:
    """Return the certificate of this host, as Puppet's settings name it; None if root does not ask."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None  # only root can read the key
    names = ("localcacert", "hostcert", "hostprivkey")
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + os.pathsep + "/opt/puppetlabs/bin"}
    command = ("puppet", "config", "print", "--section", "agent", *names)
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, timeout=PUPPET_S, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    values = dict(line.split(" = ", 1) for line in done.stdout.splitlines() if " = " in line)
    ca, cert, key = (_present(Path(values.get(name, ""))) for name in names)
    return Files(ca, cert, key, puppets=True) if ca and cert and key else None


def tls(files: Files) -> ssl.SSLContext:
    """Return the TLS context of all connections: with Puppet's CA alone, and the caller's certificate."""
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except (OSError, ValueError) as error:
        raise UsageError(f"{files.ca} cannot be read as certificates of a CA: {reason(error)}") from error
    context.verify_flags |= PARTIAL_CHAIN
    if files.cert and files.key:
        if not files.puppets:
            check_private(files.key)
        try:
            context.load_cert_chain(files.cert, files.key)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise UsageError(f"{files.key} is not the private key of {files.cert}") from error
            text = f"{files.cert} and {files.key} cannot be read as a certificate and its key in PEM"
            raise UsageError(f"{text}: {reason(error)}") from error
        except OSError as error:
            raise UsageError(f"{files.cert} or {files.key} cannot be read: {reason(error)}") from error
    return context


def read_token(path: Path) -> str:
    """Return the token in a file; raises `UsageError`, without anything of its content."""
    try:
        with open(path, "rb") as file:
            _check_mode(path, os.fstat(file.fileno()))
            content = file.read(MAX_TOKEN_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from error
    token = TOKEN_FILE.fullmatch(content.decode("utf-8", "replace"))
    if not token:
        raise UsageError(f"{path} must have one token alone, or `Authorization: Bearer TOKEN`")
    return token[1]


def check_private(path: Path) -> None:
    """Raise `UsageError` if others can read a private key."""
    try:
        _check_mode(path, os.stat(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return why a file cannot be used, in a few words."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM file").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)


def _check_mode(path: Path, status: os.stat_result) -> None:
    """Raise `UsageError` for a file that others can read, as ssh does for private keys."""
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is not a file")
    if os.name == "nt":
        return  # its modes say nothing
    # A file of another owner can be shared on purpose, with a group.
    too_open = 0o077 if status.st_uid == os.getuid() else 0o007
    if status.st_mode & too_open:
        raise UsageError(f"{path} can be read by others; chmod 600 {path}")


def _path(text: Optional[str]) -> Optional[Path]:
    return Path(text).expanduser() if text else None


def _present(path: Path) -> Optional[Path]:
    """Return the path if a file is there; one that cannot be looked at counts, so that its error is seen."""
    try:
        return path if stat.S_ISREG(os.stat(path).st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return path
