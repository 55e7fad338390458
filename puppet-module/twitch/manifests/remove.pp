# @summary Remove everything from the node. A run that is under way goes on to its end.
# @api private
class twitch::remove {
  # With the watch, which starts processes as they do.
  $sockets = [
    'puppet-twitch.socket', 'puppet-twitch-run.socket', 'puppet-twitch-log.socket', 'puppet-twitch-watch.path',
  ]
  $services = [
    'puppet-twitch.service', 'puppet-twitch@.service', 'puppet-twitch-run@.service', 'puppet-twitch-log@.service',
    'puppet-twitch-watch.service',
    'puppet-twitch-expiry.service',
  ]
  # The listeners, one for all or one for each connection, and the log readers, but no run.
  $listeners = "'puppet-twitch[.@]*service' 'puppet-twitch-log@*service'"
  $running_states = 'active,activating,deactivating'

  Exec {
    path     => ['/usr/bin', '/bin'],
    provider => 'shell',
  }

  # The sockets first, so that nothing starts meanwhile.
  service { $sockets:
    ensure => stopped,
    enable => false,
  }
  # The listener of a single connection does not stop with its socket, and a user with processes cannot be
  # removed.
  -> exec { 'twitch: stop the listeners':
    command => "systemctl stop ${listeners}",
    onlyif  => "systemctl list-units --no-legend --state=${running_states} ${listeners} | grep -q .",
  }

  # Puppet stays as it is, enabled or disabled: somebody has asked for that.
  -> exec { 'twitch: stop the timer that enables Puppet':
    command => 'systemctl stop puppet-twitch-expiry.timer puppet-twitch-expiry.service',
    onlyif  => "systemctl list-units --no-legend 'puppet-twitch-expiry.*' | grep -q .",
  }

  # The default of the package, whose scripts know only that file.
  $textfile = $twitch::watch_textfile.lest || { '/var/lib/prometheus/node-exporter/puppet-twitch.prom' }
  file { $textfile:
    ensure  => absent,
    require => Service['puppet-twitch-watch.path'],
  }

  # The units that are not templates: systemd can be asked whether it has to read their files again.
  $loaded_units = $sockets + ['puppet-twitch.service']

  # All drop-ins, including an operator's, because they apply only to puppet-twitch's units.
  $drop_ins = ($sockets + $services).map |$unit| { "/etc/systemd/system/${unit}.d" }
  file { $drop_ins + ['/etc/puppet-twitch', '/var/cache/puppet-twitch', '/var/lib/puppet-twitch']:
    ensure  => absent,
    recurse => true,
    force   => true,
    require => Exec['twitch: stop the timer that enables Puppet'],
  }
  -> exec { 'twitch: let systemd forget the drop-ins':
    command => 'systemctl daemon-reload',
    onlyif  => "systemctl show --property=NeedDaemonReload ${loaded_units.join(' ')} | grep -q =yes",
  }

  if $twitch::manage_package {
    # On Debian, `absent` would leave configuration files and the state of `systemctl enable`. The providers
    # that are not named here leave nothing, and do not know `purged`.
    $removed = $twitch::package_provider ? {
      Variant[Undef, Enum['apt', 'aptitude', 'dpkg', 'dnf', 'yum']] => 'purged',
      default                                                       => 'absent',
    }
    package { $twitch::package_name:
      ensure   => $removed,
      provider => $twitch::package_provider,
      require  => Exec['twitch: stop the timer that enables Puppet'],
    }
    -> File['/etc/puppet-twitch']

    # Where the package stays, the user stays too, because the units name it.
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
