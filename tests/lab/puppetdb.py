"""A real PuppetDB with PostgreSQL, on the machine of the puppetserver.

Debian's packages are configured by hand, because `puppetdb ssl-setup` needs augtool, which is not installed
with it: TLS on port 8081 with the puppetserver's own certificate of the Puppet CA.
"""

from __future__ import annotations

import json
from typing import Any

from .machine import Machine

# About 20 s on two free cores.
READY_TIMEOUT_S = 600

SSL = "/etc/puppetdb/ssl"

JETTY = f"""\
[jetty]
host = localhost
port = 8080
ssl-host = 0.0.0.0
ssl-port = 8081
ssl-key = {SSL}/key.pem
ssl-cert = {SSL}/cert.pem
ssl-ca-cert = {SSL}/ca.pem
"""

# With soft_write_failure, an outage of PuppetDB fails no run of Puppet: what is lost is the report.
TERMINUS = """\
[main]
server_urls = https://puppet:8081
soft_write_failure = true
"""
# The run mode of a puppetserver is called master here, in version 8 as well.
ROUTES = """\
master:
  facts:
    terminus: puppetdb
    cache: yaml
"""
SETTINGS = """\
storeconfigs = true
storeconfigs_backend = puppetdb
reports = lab,puppetdb
"""

JAVA_ARGS = "-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

# Nothing of it outlives the machine, so PostgreSQL need not wait for the disk.
POSTGRESQL = """\
fsync = off
synchronous_commit = off
full_page_writes = off
"""

SETUP = f"""\
set -e
sed -i 's|^JAVA_ARGS=.*|JAVA_ARGS="{JAVA_ARGS}"|' /etc/default/puppetdb
mkdir -p {SSL}
ssl=$(puppet config print ssldir --section server)
cp $ssl/private_keys/puppet.pem {SSL}/key.pem
cp $ssl/certs/puppet.pem {SSL}/cert.pem
cp $ssl/certs/ca.pem {SSL}/ca.pem
chown -R puppetdb: {SSL}
systemctl start postgresql.service
password=$(sed -n 's/^password = //p' /etc/puppetdb/conf.d/database.ini)
cd /
runuser -u postgres -- psql --quiet --set=ON_ERROR_STOP=1 <<END
CREATE ROLE puppetdb LOGIN PASSWORD '$password';
CREATE DATABASE puppetdb OWNER puppetdb ENCODING 'UTF8';
\\c puppetdb
CREATE EXTENSION pg_trgm;
END
systemctl start --no-block puppetdb.service
"""


class PuppetDB:
    """PuppetDB on a machine, see `start_puppetserver`; it takes a while to be ready."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def await_ready(self) -> None:
        """Wait until PuppetDB has connected to its database; LabError has its log if it does not."""
        self.machine.wait(
            "curl -sf http://localhost:8080/status/v1/simple | grep -qx running",
            READY_TIMEOUT_S,
            show="journalctl -b -u puppetdb -u 'postgresql*' -o cat; tail -n 40 /var/log/puppetdb/*b.log",
        )

    def query(self, pql: str) -> list[dict[str, Any]]:
        """Return the rows of a query in PQL."""
        curl = ("curl", "-sSf", "-G", "http://localhost:8080/pdb/query/v4")
        rows: list[dict[str, Any]] = json.loads(
            self.machine.run(*curl, "--data-urlencode", f"query={pql}").stdout
        )
        return rows


def configure(machine: Machine) -> None:
    """Configure and start PuppetDB on the machine of a puppetserver that has a CA and has not started."""
    machine.write("/etc/puppetdb/conf.d/jetty.ini", JETTY)
    machine.write("/etc/puppet/puppetdb.conf", TERMINUS)
    machine.write("/etc/puppet/routes.yaml", ROUTES)
    machine.write("/etc/postgresql/17/main/conf.d/lab.conf", POSTGRESQL)
    machine.sh(SETUP, timeout_s=120)
