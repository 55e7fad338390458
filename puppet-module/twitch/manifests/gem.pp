# @summary Remove what the Ruby gem of the same name and its module have left on the node.
# @api private
class twitch::gem {
  # Two processes, named after the gem's controller.rb: a server, and a monitor that starts the server
  # again. Killed at once, so that neither can; a run that they have started goes on.
  $daemon = "-u twitch -f '^controller\\.rb'"

  Exec { path => ['/usr/local/bin', '/usr/bin', '/usr/sbin', '/bin', '/sbin'] }

  exec { 'twitch: end the daemon of the gem':
    command => "pkill -KILL ${daemon}",
    onlyif  => "pgrep ${daemon}",
  }
  # Its /run/puppet-twitch belongs to its user, who could then put links where root is to write.
  -> exec { 'twitch: remove the run directory of the gem':
    command => 'rm -rf /run/puppet-twitch',
    onlyif  => ['test -d /run/puppet-twitch', 'test ! -O /run/puppet-twitch'],
  }
  # Not a package resource: where there is no gem command, that would fail, and here nothing is to do.
  -> exec { 'twitch: remove the gem':
    command  => 'gem uninstall --all --executables puppet-twitch',
    onlyif   => 'command -v gem && gem list --local --installed --exact puppet-twitch',
    provider => 'shell',
  }
  -> file { '/etc/sudoers.d/twitch':
    ensure => absent,
  }
}
