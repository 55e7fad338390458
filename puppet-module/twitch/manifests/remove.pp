# @summary Take all of it off the node again. A run that is under way goes on to its end.
# @api private
class twitch::remove {
  $units = ['puppet-twitch.socket', 'puppet-twitch-run.socket']
  $services = ['puppet-twitch.service', 'puppet-twitch@.service', 'puppet-twitch-run@.service']
  # Both shapes of the listener, and no run.
  $listeners = "'puppet-twitch[.@]*service'"

  Exec {
    path     => ['/usr/bin', '/bin'],
    provider => 'shell',
  }

  # The sockets first, so that nothing starts meanwhile.
  service { $units:
    ensure => stopped,
    enable => false,
  }
  # Listeners of single connections do not go with their socket, and a process of the user keeps the
  # user from being removed.
  -> exec { 'twitch: stop the listeners':
    command => "systemctl stop ${listeners}",
    onlyif  => "systemctl list-units --no-legend --state=active,activating,deactivating ${listeners} | grep -q .",
  }

  # Whatever these hold, they can only be about our units.
  $drop_ins = ($units + $services).map |$unit| { "/etc/systemd/system/${unit}.d" }
  file { $drop_ins + ['/etc/puppet-twitch', '/var/cache/puppet-twitch', '/var/lib/puppet-twitch']:
    ensure  => absent,
    recurse => true,
    force   => true,
    require => Exec['twitch: stop the listeners'],
  }
  -> exec { 'twitch: let systemd forget the drop-ins':
    command => 'systemctl daemon-reload',
    onlyif  => "systemctl show --property=NeedDaemonReload ${units.join(' ')} puppet-twitch.service | grep -q =yes",
  }

  if $twitch::manage_package {
    # Else Debian keeps configuration files and the memory of what was enabled. Other providers keep
    # nothing, and do not know the word.
    $gone = $twitch::package_provider ? {
      Variant[Undef, Enum['apt', 'aptitude', 'dpkg', 'dnf', 'yum']] => 'purged',
      default                                                       => 'absent',
    }
    package { $twitch::package_name:
      ensure   => $gone,
      provider => $twitch::package_provider,
      require  => Exec['twitch: stop the listeners'],
    }
    -> File['/etc/puppet-twitch']

    # Where the package stays, so does the user that its units name.
    if $twitch::manage_user {
      user { $twitch::user:
        ensure  => absent,
        require => Package[$twitch::package_name],
      }
      -> group { $twitch::group:
        ensure => absent,
      }
    }
  }
}
