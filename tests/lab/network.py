"""The lab's network: one bridge in the lab's own namespace, and a namespace per machine or client.

10.77.0.0/24 and fd77::/64; the bridge is .1 and ::1, so that what runs in the lab but in no
machine (pytest itself, curl, an attack tool) reaches every machine too, from another address.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .errors import LabError

BRIDGE = "lab0"
V4, V6 = "10.77.0.", "fd77::"

# sched.h; Python has setns() from 3.12 on only.
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def addresses(number: int) -> tuple[str, str]:
    """Return the IPv4 and IPv6 address of host `number`, 1 to 254, without a prefix length."""
    return f"{V4}{number}", f"{V6}{number:x}"


def make_bridge() -> None:
    """Create the bridge in the namespace of the calling process."""
    four, six = addresses(1)
    _ip(
        f"link add {BRIDGE} type bridge",
        # nodad: no other host has these addresses, and the check for it would take a second.
        f"address add {four}/24 dev {BRIDGE}",
        f"address add {six}/64 dev {BRIDGE} nodad",
        f"link set {BRIDGE} up",
    )


def plug_in(name: str, owned: Sequence[str]) -> None:
    """Make the network namespace `name` with these addresses, joined to the bridge."""
    # The kernel's limit for an interface name is 15 characters.
    _ip(
        f"netns add {name}",
        f"link add {name} type veth peer name host0 {_hardware(owned)} netns {name}",
        f"link set {name} master {BRIDGE} up",
    )
    _ip(
        "link set lo up",
        "link set host0 up",
        *(
            f"address add {address}/64 dev host0 nodad"
            if ":" in address
            else f"address add {address}/24 dev host0"
            for address in owned
        ),
        namespace=name,
    )


def _hardware(owned: Sequence[str]) -> str:
    """Return a hardware address that depends on the first IPv4 address only.

    Otherwise hosts that remember the machine which had the address before would send packets to that
    one's hardware address for seconds.
    """
    four = [address for address in owned if ":" not in address]
    return "address 02:00:" + ":".join(f"{int(part):02x}" for part in four[0].split(".")) if four else ""


def cut(name: str) -> None:
    """Take the carrier of a machine's link away, as if somebody had pulled the cable."""
    _ip(f"link set {name} down")


def restore(name: str) -> None:
    """Give a link that was cut its carrier back."""
    _ip(f"link set {name} up")


def unplug(name: str) -> None:
    """Remove the link and the namespace; both names are free again on return."""
    # The link by itself, because the kernel removes a deleted namespace, with its end of the link,
    # only some time later: a new machine of the same name would sometimes still find it.
    _ip(f"link delete {name}", f"netns delete {name}")


def _ip(*lines: str, namespace: str | None = None) -> None:
    within = ("-n", namespace) if namespace else ()
    done = subprocess.run(
        ("ip", *within, "-batch", "-"),
        input="\n".join(lines) + "\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    if done.returncode:
        raise LabError(f"ip: {done.stdout.strip()}, in:\n" + "\n".join(lines))


class Netns:
    """A network namespace, of a machine or of a client that is no machine: load, attacks, odd addresses."""

    def __init__(self, name: str, owned: Sequence[str]) -> None:
        self.name = name
        self.addresses = tuple(owned)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` in this namespace."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command of this host in this namespace; LabError, with its output, if it fails."""
        what = f"{self.name}: {shlex.join(argv)}"
        try:
            done = subprocess.run(
                self.command(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{what}: still running after {timeout_s:g} s") from None
        if check and done.returncode:
            raise LabError(f"{what}: exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command of this host in this namespace, its output in one pipe."""
        return subprocess.Popen(
            self.command(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def open_socket(
        self,
        family: socket.AddressFamily = socket.AF_INET,
        kind: socket.SocketKind = socket.SOCK_STREAM,
    ) -> socket.socket:
        """Open a socket in this namespace, for the calling process."""
        # A socket stays in the namespace where it was made; setns() moves only the calling thread.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._open_socket, family, kind).result()

    def connect(self, address: str, port: int, *, source: str | None = None) -> socket.socket:
        """Connect to a machine, from one of the addresses if it matters; no operation takes over a minute."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = self.open_socket(family)
        connection.settimeout(60)
        try:
            if source:
                connection.bind((source, 0))
            connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        entrance = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(entrance, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            return socket.socket(family, kind)
        finally:
            os.close(entrance)
