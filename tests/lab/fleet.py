"""A site with a fleet: a puppetserver with PuppetDB, and nodes with puppet-twitch over TLS.

Everything is real: the nodes have certificates of the Puppet CA and run catalogs of that server. The operator
is a user of the puppetserver's machine, with an EC certificate of the same CA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from .install import SOURCE, copy_source, install
from .lab import Lab, machine_named
from .machine import Completed, Machine
from .puppetdb import PuppetDB
from .server import PuppetServer, start_puppetserver

OPERATOR = "alice"
HOME = f"/home/{OPERATOR}"
SSL = "/var/lib/puppet/ssl"

GRANTS = "trigger noop tags environment=* status logs cancel disable"
NODE_CONFIG = f"""\
[access]
anonymous =
cert:{OPERATOR} = {GRANTS}

[tls]
enabled = yes
"""
# The steps in the comments of tls.conf.
TLS_ON = """\
set -e
directory=/etc/systemd/system/puppet-twitch.service.d
mkdir -p $directory
sed 's/NODE/{name}/' /usr/share/puppet-twitch/tls.conf >$directory/zzz-tls.conf
systemctl daemon-reload
systemctl stop puppet-twitch.service
"""

# As puppet-twitch-fleet(1) says: the key stays with the operator, and the CA of the puppetserver signs the
# request.
CERTIFICATE = f"""\
set -e
useradd --create-home --shell /bin/bash {OPERATOR}
directory={HOME}/.config/puppet-twitch
mkdir -p $directory
cd $directory
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl req -new -key key.pem -subj /CN={OPERATOR} -out request.pem
ca=https://puppet:8140/puppet-ca/v1
cp {SSL}/certs/ca.pem ca.pem
curl -sSf --cacert ca.pem -X PUT -H 'Content-Type: text/plain' --data-binary @request.pem \\
    $ca/certificate_request/{OPERATOR}
curl -sSf --cacert ca.pem -o cert.pem $ca/certificate/{OPERATOR}
openssl x509 -in ca.pem >>cert.pem
rm request.pem
chmod 600 key.pem
chown -R {OPERATOR}: {HOME}/.config
"""

INSTALL = f"make --directory={SOURCE} install-fleet"

T = TypeVar("T")
U = TypeVar("U")


class Site(NamedTuple):
    """The machines of a fleet site, all ready."""

    server: PuppetServer
    puppetdb: PuppetDB
    nodes: dict[str, Machine]

    @property
    def machine(self) -> Machine:
        """The operator's machine, which is the puppetserver's as well."""
        return self.server.machine

    def operator(self, *argv: str, check: bool = True, timeout_s: float = 120) -> Completed:
        """Run a command as the operator; LabError if it fails."""
        return self.machine.run(*as_operator(*argv), check=check, timeout_s=timeout_s)


def as_operator(*argv: str) -> list[str]:
    """Return the command line that runs `argv` as the operator, in the operator's home directory."""
    return ["runuser", f"--user={OPERATOR}", "--", "env", f"--chdir={HOME}", f"HOME={HOME}", *argv]


def start_site(
    lab: Lab,
    nodes: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
    *,
    server: PuppetServer | None = None,
) -> Site:
    """Boot a puppetserver with PuppetDB, and nodes, name -> image; return when all nodes have reported.

    A server that was started before, with PuppetDB, can be given.
    """
    say("Booting the machines; a puppetserver and a PuppetDB with PostgreSQL start")
    server = server or start_puppetserver(lab, with_puppetdb=True)
    puppetdb = PuppetDB(server.machine)
    machines = {name: lab.boot(name, image=image) for name, image in nodes.items()}
    say("Installing puppet-twitch on the nodes, and puppet-twitch-fleet for the operator")
    each(install, machines.values())
    copy_source(server.machine)
    server.machine.sh(INSTALL)
    server.await_ready()
    puppetdb.await_ready()
    say("The nodes get their certificates from the Puppet CA, and run Puppet for the first time")
    each(lambda node: enrol(server, node), machines.values())
    server.machine.sh(CERTIFICATE)
    return Site(server, puppetdb, machines)


def attached_site(nodes: Iterable[str]) -> Site:
    """Return the site that another process of this lab has started."""
    server, *machines = (machine_named(name) for name in ("puppet", *nodes))
    for machine in (server, *machines):
        machine.attach()
    return Site(PuppetServer(server), PuppetDB(server), {machine.name: machine for machine in machines})


def enrol(server: PuppetServer, node: Machine) -> None:
    """Make a machine a node of the site: its certificate, its first run, and TLS for puppet-twitch."""
    server.enrol(node)
    node.write("/etc/puppet-twitch/puppet-twitch.conf", NODE_CONFIG)
    node.sh(TLS_ON.format(name=node.name))


def each(function: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """Call a function for all items at once, and return what it returns; its first error is raised."""
    # Two cores, and a node mostly waits for the puppetserver or for its disk.
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(function, items))
