# @summary Take all of it off the node again. A run that is under way goes on to its end.
# @api private
class twitch::remove {
  $units = ['puppet-twitch.socket', 'puppet-twitch-run.socket']
  $services = ['puppet-twitch.service', 'puppet-twitch@.service', 'puppet-twitch-run@.service']

  # The sockets first, so that nothing starts meanwhile. The listener goes with its socket.
  service { $units:
    ensure => stopped,
    enable => false,
  }
  # Listeners of single connections do not, and a process of the user keeps the user from being removed.
  ~> exec { 'twitch: stop the listeners':
    command     => "systemctl stop puppet-twitch.service 'puppet-twitch@*.service'",
    path        => ['/usr/bin', '/bin'],
    refreshonly => true,
  }

  # Whatever these hold, they can only be about our units.
  $drop_ins = ($units + $services).map |$unit| { "/etc/systemd/system/${unit}.d" }
  file { $drop_ins + ['/etc/puppet-twitch', '/var/cache/puppet-twitch']:
    ensure  => absent,
    recurse => true,
    force   => true,
    require => Exec['twitch: stop the listeners'],
  }

  if $twitch::manage_package {
    # Purged: else Debian keeps configuration files and the memory of what was enabled.
    package { $twitch::package_name:
      ensure   => purged,
      provider => $twitch::package_provider,
      require  => Exec['twitch: stop the listeners'],
    }
    -> File['/etc/puppet-twitch']
    if $twitch::manage_user {
      Package[$twitch::package_name] -> User[$twitch::user]
    }
  }
  if $twitch::manage_user {
    user { $twitch::user:
      ensure  => absent,
      require => Exec['twitch: stop the listeners'],
    }
    -> group { $twitch::group:
      ensure => absent,
    }
  }
}
