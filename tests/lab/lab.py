"""The lab: boots machines side by side, knows their names and addresses, and puts them away."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from . import images, namespaces, network
from .errors import LabError
from .machine import Machine

# Fixed, so that every machine knows the names of those that are booted later.
NUMBERS = {
    **{"puppet": 10, "node11": 11, "node12": 12, "node13": 13, "nodetesting": 14, "extra": 20, "demo": 30},
    **{"web1": 31, "web2": 32, "web3": 33, "db1": 34},
}

# In the lab's own /run, a tmpfs, which goes with the last process of the lab.
DISKS = Path("/run/puppet-twitch-lab")
# Below a machine's directory: what it has changed.
UPPER = "upper"

# What machines have changed in an image, the last one first.
Disk = tuple[Path, ...]


class Lab:
    """Machines and clients on one network. Use as a context, or call `close`."""

    def __init__(self) -> None:
        if not namespaces.inside():
            raise LabError("not in the lab's namespaces: run this under tests/lab/enter")
        self._machines: dict[str, Machine] = {}
        self._held: dict[str, ExitStack] = {}
        self._disks: dict[str, Disk] = {}
        self._clients = 0
        self._kept = 0
        DISKS.mkdir()
        network.make_bridge()

    def boot(self, name: str, *, image: str, disk: Disk = ()) -> Machine:
        """Boot a fresh copy of an image as `name`, one of NUMBERS; or of a machine whose disk was kept."""
        if name in self._machines:
            raise LabError(f"{name} exists already")
        machine = machine_named(name)
        # A boot that fails halfway is undone, so that only the test that asked for it fails.
        with ExitStack() as held:
            lower = (*disk, held.enter_context(images.in_use(image)))
            held.enter_context(_mounted(machine, lower))
            _configure(machine)
            network.plug_in(name, machine.netns.addresses)
            held.callback(network.unplug, name)
            held.callback(_end, machine)
            machine.start()
            self._held[name] = held.pop_all()
            self._disks[name] = disk
        self._machines[name] = machine
        return machine

    def discard(self, machine: Machine) -> None:
        """Shut a machine down and remove its disk; its name is free again."""
        del self._machines[machine.name]
        self._held.pop(machine.name).close()

    def keep(self, machine: Machine) -> Disk:
        """Shut a machine down and return its disk, for `boot` with the same image."""
        machine.poweroff()
        self._kept += 1
        changes = DISKS / f"kept{self._kept}"
        # With the attributes by which overlayfs knows that a file was removed, or a directory replaced.
        subprocess.run(["cp", "--archive", machine.own / UPPER, changes], check=True)
        disk = (changes, *self._disks[machine.name])
        self.discard(machine)
        return disk

    def client(self, *addresses: str) -> network.Netns:
        """Return a new network namespace on the bridge with these addresses and no machine.

        It stays as long as the lab, so only a fixture of the session may make one: a smaller scope
        would be set up again, because pytest sorts tests by machine, and add the addresses twice.
        """
        self._clients += 1
        client = network.Netns(f"client{self._clients}", addresses)
        network.plug_in(client.name, addresses)
        return client

    def close(self) -> None:
        """Discard all machines; otherwise the kernel kills them with the lab."""
        for machine in list(self._machines.values()):
            self.discard(machine)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def machine_named(name: str) -> Machine:
    """Return the handle of a machine of this lab, booted or not; LabError for an unknown name."""
    if name not in NUMBERS:
        raise LabError(f"no machine is called {name!r}, there are: {', '.join(NUMBERS)}")
    return Machine(name, NUMBERS[name], DISKS / name)


@contextmanager
def _mounted(machine: Machine, lower: Sequence[Path]) -> Iterator[None]:
    """Give a machine a disk of its own, on top of others, the uppermost first."""
    # Mounted by the lab, not by nspawn's --volatile=, so that a reboot keeps the disk.
    upper, work = machine.own / UPPER, machine.own / "work"
    for directory in (machine.root, upper, work):
        directory.mkdir(parents=True)
    try:
        options = f"lowerdir={':'.join(map(os.fspath, lower))},upperdir={upper},workdir={work}"
        mount = ("mount", "-t", "overlay", "-o", options, "overlay", os.fspath(machine.root))
        subprocess.run(mount, check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", machine.root], check=True)
    finally:
        shutil.rmtree(machine.own)


def _end(machine: Machine) -> None:
    if machine.is_up:
        machine.poweroff()


def _configure(machine: Machine) -> None:
    """Write a machine's name, an id that survives reboots, and the addresses of all machines."""
    etc = machine.root / "etc"
    (etc / "hostname").write_text(f"{machine.name}\n")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    hosts = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    for other, number in NUMBERS.items():
        hosts += [f"{address} {other}" for address in network.addresses(number)]
    (etc / "hosts").write_text("\n".join(hosts) + "\n")
