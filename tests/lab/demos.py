"""The demos: what each boots, shows and enters, in the namespaces of its lab."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from . import fleet, fleet_tour
from .lab import Lab, machine_named
from .machine import Machine
from .nspawn import REBOOTED
from .tour import tour

NAME, IMAGE = "demo", "debian12"
NODES = {"web1": "debian12", "web2": "debian13", "db1": "debian12"}


class Demo(NamedTuple):
    """A demo: its images, and its commands in the lab."""

    name: str
    words: tuple[str, ...]  # of the command line, that select it
    images: tuple[str, ...]
    keep: Callable[[], int]  # boots, prints `up`, and stays until the first machine is powered off
    tour: Callable[[], int]
    entrance: Callable[[Sequence[str]], list[str]]  # the command line of a shell, or of a command
    hint: str


def _keep_one() -> int:
    with Lab() as lab:
        print("==> Booting a Debian 12 machine with its own systemd", flush=True)
        machine = lab.boot(NAME, image=IMAGE)
        print("up", flush=True)
        _await_end(machine)
    return 0


def _keep_fleet() -> int:
    with Lab() as lab:
        site = fleet.start_site(lab, NODES, lambda step: print(f"==> {step}", flush=True))
        print("up", flush=True)
        with ThreadPoolExecutor(len(NODES)) as pool:
            for node in site.nodes.values():
                pool.submit(_await_end, node)
            _await_end(site.machine)
            pool.submit(lab.close)
    return 0


def _await_end(machine: Machine) -> None:
    """Wait until a machine is powered off; it may reboot."""
    while machine.await_end() == REBOOTED:
        machine.start()


def _attached_one() -> Machine:
    machine = machine_named(NAME)
    machine.attach()
    return machine


def _enter_one(command: Sequence[str]) -> list[str]:
    return _attached_one().command(_command(command))


def _enter_fleet(command: Sequence[str]) -> list[str]:
    """Return the command line of the operator; after the word --on=MACHINE that of root there."""
    site = fleet.attached_site(NODES)
    if command and command[0].startswith("--on="):
        machine = machine_named(command[0][len("--on=") :])
        machine.attach()
        return machine.command(_command(command[1:]))
    return site.machine.command(fleet.as_operator(*_command(command)))


def _command(command: Sequence[str]) -> list[str]:
    """Return the command line of a command, or of a login shell."""
    terminal = (f"TERM={os.environ['TERM']}",) if "TERM" in os.environ else ()
    return ["env", *terminal, *(command or ("bash", "--login"))]


ONE = Demo(
    "demo", (), (IMAGE,), _keep_one, lambda: tour(_attached_one()), _enter_one,
    "A root shell in the machine:  make demo-shell\nRemove it:                    make demo-stop",
)  # fmt: skip
FLEET = Demo(
    "demo-fleet", ("fleet",), ("debian13-servers", *NODES.values()), _keep_fleet,
    lambda: fleet_tour.tour(fleet.attached_site(NODES)), _enter_fleet,
    "A shell as the operator:        make demo-fleet-shell\n"
    "A root shell in a machine:      make demo-fleet-shell ON=web1 (web2, db1, puppet)\n"
    "Remove all:                     make demo-fleet-stop",
)  # fmt: skip
