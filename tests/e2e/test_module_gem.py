"""The module on a node that still runs the Ruby gem's daemon on our port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import site
from tests.e2e.site import VERSION, Site
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.server import PuppetServer

# As the system sees the gem: a server and a monitor that restarts it, both with process titles that the
# `daemons` gem takes from the file it runs.
DAEMON = """\
require 'socket'
Process.daemon
$0 = 'controller.rb_monitor'
loop do
  server = fork do
    $0 = 'controller.rb'
    File.write('/run/puppet-twitch/controller.rb.pid', Process.pid)
    listening = TCPServer.new('0.0.0.0', 2023)
    loop do
      client = listening.accept
      client.write("HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nold")
      client.close
    end
  end
  Process.wait(server)
end
"""
GEM = """\
Gem::Specification.new do |gem|
  gem.name = 'puppet-twitch'
  gem.version = '0.1.0'
  gem.summary = 'stands in for the real one'
  gem.authors = ['test']
  gem.files = []
end
"""
# As the gem's own Puppet module did.
SET_UP = """\
set -e
useradd --create-home --uid 2023 twitch
mkdir -p /etc/sudoers.d
echo '%twitch ALL= NOPASSWD: /bin/puppet agent --onetime' >/etc/sudoers.d/twitch
install -d -o twitch -g twitch /run/puppet-twitch
cd /root && gem build --silent puppet-twitch.gemspec && gem install --silent --local *.gem
rm /root/puppet-twitch*
runuser -u twitch -- ruby /opt/old.rb
"""


@pytest.fixture(scope="module")
def managed(server: PuppetServer) -> Site:
    return Site(server)


@pytest.fixture(scope="module")
def node(lab: Lab, managed: Site) -> Iterator[Machine]:
    booted = lab.boot("extra", image="debian12")
    managed.enrol(booted, "gem")
    booted.write("/opt/old.rb", DAEMON)
    booted.write("/root/puppet-twitch.gemspec", GEM)
    booted.sh(SET_UP)
    booted.wait("curl -sf http://localhost:2023/")
    yield booted
    lab.discard(booted)


def test_gem_daemon_is_kept_without_purge_gem(node: Machine, managed: Site) -> None:
    managed.hiera(node)
    with pytest.raises(LabError, match="twitch"):
        site.apply(node)
    assert node.curl("/").body == "old"
    assert node.exists("/etc/sudoers.d/twitch")


def test_purge_gem_replaces_the_daemon_in_one_run(node: Machine, managed: Site) -> None:
    managed.hiera(node, purge_gem=True)
    assert site.apply(node)
    assert node.curl("/version").body.strip() == VERSION
    assert not node.exists("/etc/sudoers.d/twitch")
    assert "puppet-twitch" not in node.run("gem", "list", "--local").stdout
    # The old directory belonged to its user, and could hold links at places where root writes.
    assert node.run("stat", "--format=%U %a", "/run/puppet-twitch").stdout == "root 755\n"
    assert node.run("getent", "passwd", "twitch").stdout.split(":")[2:] == [
        *("2023", "2023", "Puppet Twitch listener", "/", "/usr/sbin/nologin\n")
    ]
    assert not site.apply(node)
