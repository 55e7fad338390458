"""A real puppetserver: its certificate authority, its code, its reports, and nodes enrolled with it.

Debian 13's Puppet Server 8 serves the Puppet 7 agents of Debian 12 as well as Puppet 8.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from . import puppetdb
from .lab import Lab
from .machine import Machine

# About 20 s on two free cores, several times that beside a busy test.
READY_TIMEOUT_S = 600

ENVIRONMENTS = "/etc/puppet/code/environments"
REPORTS = "/var/lib/puppetserver/lab-reports"

# Puppet's own 4096 bits take 1 to 4 s of CPU time for each key.
KEYS = "keylength = 2048"

PUPPET_CONF = f"""\
[main]
server = puppet
certname = puppet
{KEYS}

[server]
# A test CA signs every request.
autosign = true
# A manifest that a test writes takes effect at the next run.
environment_timeout = 0
node_terminus = exec
external_nodes = /etc/puppet/enc
"""

# The ENC is always configured, so that a test can assign an environment without a restart; without a
# file it answers what the server assumes without an ENC.
ENC = """\
#!/bin/sh
cat "/etc/puppet/enc.d/$1" 2>/dev/null || echo 'classes: {}'
"""

# The shipped `store` names reports by the minute: of two runs in a minute, one is lost.
REPORT_PROCESSOR = f"""\
require 'fileutils'
require 'puppet/reports'

Puppet::Reports.register_report(:lab) do
  desc 'Keep every report as JSON, for tests to read.'

  def process
    directory = File.join('{REPORTS}', host)
    FileUtils.mkdir_p(directory)
    name = format('%.6f-%s', Time.now.to_f, transaction_uuid)
    path = File.join(directory, name)
    File.write(path, Puppet::Util::Json.dump(to_data_hash))
    File.rename(path, path + '.json')
  end
end
"""

# With C1 alone and the serial collector the server starts in three quarters of the time.
JAVA_ARGS = (
    "-Xms512m -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    " -Djruby.logger.class=com.puppetlabs.jruby_utils.jruby.Slf4jLogger"
)

# TLS 1.2 only: with 1.3, Java may send its session ticket after the answer. Ruby's Net::HTTP then takes
# the readable socket for a closed one and, before the next request, waits until Jetty closes it: 30 s
# lost in most first runs (seen).
SETUP = f"""\
set -e
cd /etc/puppet/puppetserver/conf.d
sed -i 's|^JAVA_ARGS=.*|JAVA_ARGS="{JAVA_ARGS}"|' /etc/default/puppetserver
sed -i 's|#max-active-instances: 1|max-active-instances: 1\\n    compile-mode: off|' puppetserver.conf
sed -i 's|ssl-port:.*|&\\n    ssl-protocols: [TLSv1.2]|' webserver.conf
grep -q 'compile-mode: off' puppetserver.conf
grep -q 'ssl-protocols' webserver.conf
chmod +x /etc/puppet/enc
mkdir -p /etc/puppet/enc.d
puppetserver ca setup
"""


class PuppetServer:
    """The machine `puppet`, made by `start_puppetserver`; it takes a while to be ready."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @functools.cached_property
    def ca(self) -> str:
        """The directory of the CA. To ask for it takes 0.8 s of CPU time."""
        return self.machine.sh("puppet config print cadir --section server").stdout.strip()

    def await_ready(self) -> None:
        """Wait until the server answers on port 8140; LabError has its log if it does not."""
        self.machine.wait(
            "curl -skf https://localhost:8140/status/v1/simple | grep -qx running",
            READY_TIMEOUT_S,
            show="journalctl -b -u puppetserver -o cat; tail -n 40 /var/log/puppetserver/*r.log",
        )

    def stop(self) -> None:
        """Stop the server: connections are refused. `unreachable` is quicker to undo."""
        self.machine.run("systemctl", "stop", "puppetserver.service", timeout_s=READY_TIMEOUT_S)

    def start(self) -> None:
        """Start the server again and wait until it is ready."""
        self.machine.run("systemctl", "start", "--no-block", "puppetserver.service")
        self.await_ready()

    @contextmanager
    def unreachable(self, node: Machine) -> Iterator[None]:
        """Take a node's route to the server away: connecting fails at once."""
        routes = [f"{self.machine.address}/32", f"{self.machine.address6}/128"]
        for route in routes:
            node.run("ip", "route", "add", "unreachable", route)
        try:
            yield
        finally:
            for route in routes:
                node.run("ip", "route", "delete", "unreachable", route)

    def manifest(self, environment: str, text: str) -> None:
        """Write an environment's site manifest; a new environment is created."""
        self.machine.write(f"{ENVIRONMENTS}/{environment}/manifests/site.pp", text)

    def enc(self, environments: Mapping[str, str]) -> None:
        """Make the server assign environments, certname to name; with `{}` the nodes choose."""
        self.machine.sh("rm -f /etc/puppet/enc.d/*")
        for certname, environment in environments.items():
            answer = f"classes: {{}}\nenvironment: {environment}\n"
            self.machine.write(f"/etc/puppet/enc.d/{certname}", answer)

    def reports(self, certname: str) -> list[dict[str, Any]]:
        """Return a node's reports, oldest first: `job_id`, `status`, `environment`, `logs`, …"""
        files = self.machine.sh(f"ls {REPORTS}/{certname}/*.json", check=False).stdout.split()
        return [json.loads(self.machine.read(file)) for file in files]

    def enrol(self, node: Machine) -> None:
        """Make a machine a node of this server, with a certificate in its own name."""
        node.write(
            "/etc/puppet/puppet.conf",
            f"[main]\nserver = {self.machine.name}\ncertname = {node.name}\n{KEYS}\n",
        )
        first = ("puppet", "agent", "--onetime", "--no-daemonize", "--waitforcert=5")
        node.run(*first, "--detailed-exitcodes", "--verbose", "--color=false", timeout_s=180)


def start_puppetserver(lab: Lab, *, with_puppetdb: bool = False) -> PuppetServer:
    """Boot and configure the server; it is still starting on return, see `await_ready`.

    With PuppetDB, which then starts on the same machine, facts, catalogs and reports go there.
    """
    machine = lab.boot("puppet", image="debian13-servers")
    storage = puppetdb.SETTINGS if with_puppetdb else "reports = lab\n"
    machine.write("/etc/puppet/puppet.conf", PUPPET_CONF + storage)
    machine.write("/etc/puppet/enc", ENC)
    # Among Puppet's own processors, because a module's would be synchronised to the nodes.
    machine.write("/usr/lib/puppetserver/ruby/vendor_ruby/puppet/reports/lab.rb", REPORT_PROCESSOR)
    server = PuppetServer(machine)
    for environment in ("production", "staging"):
        server.manifest(environment, "")
    machine.sh(SETUP, timeout_s=180)
    if with_puppetdb:
        puppetdb.configure(machine)
    machine.run("systemctl", "start", "--no-block", "puppetserver.service")
    return server
