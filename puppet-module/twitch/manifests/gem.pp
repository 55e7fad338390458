# @summary Remove what the Ruby gem of the same name and its module have left on the node.
# @api private
class twitch::gem {
  # The gem has two processes, both named after its controller.rb: a server, and a monitor that starts the
  # server again. SIGKILL ends both at once, so that neither starts the other. A run that they have started
  # goes on.
  $gem_processes = "-u twitch -f '^controller\\.rb'"

  Exec { path => ['/usr/local/bin', '/usr/bin', '/usr/sbin', '/bin', '/sbin'] }

  exec { 'twitch: end the daemon of the gem':
    command => "pkill -KILL ${gem_processes}",
    onlyif  => "pgrep ${gem_processes}",
  }
  # The gem's /run/puppet-twitch belongs to its user, who could put links there, where root will write.
  -> exec { 'twitch: remove the run directory of the gem':
    command => 'rm -rf /run/puppet-twitch',
    onlyif  => ['test -d /run/puppet-twitch', 'test ! -O /run/puppet-twitch'],
  }
  # Not a package resource, because that would fail on nodes without the command `gem`, which need no change.
  -> exec { 'twitch: remove the gem':
    command  => 'gem uninstall --all --executables puppet-twitch',
    onlyif   => 'command -v gem && gem list --local --installed --exact puppet-twitch',
    provider => 'shell',
  }
  -> file { '/etc/sudoers.d/twitch':
    ensure => absent,
  }
}
