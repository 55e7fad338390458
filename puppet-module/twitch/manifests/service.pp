# @summary Enable and start the sockets, and the watch if asked to; restart what has other settings.
# @api private
class twitch::service {
  service { ['puppet-twitch-run.socket', 'puppet-twitch-log.socket']:
    ensure => running,
    enable => true,
  }

  # The settings with which socket and listener were last started are recorded on the node and compared here. A
  # notification would be lost for good in a run that ends between the drop-in and this resource, and the next
  # daemon-reload, for whatever reason, would close the port. Only a change of the socket's own settings
  # closes the port for a moment, in which any user of the node can bind it.
  $socket_settings = sha256($twitch::units::socket_settings.join("\n"))
  $listener_settings = sha256($twitch::units::listener_settings.join("\n"))
  $state_directory = '/var/lib/puppet-twitch'

  Exec {
    path     => ['/usr/bin', '/bin'],
    provider => 'shell',
  }

  exec { 'twitch: start the socket with its settings':
    command     => file('twitch/restart_socket.sh'),
    environment => ["TWITCH_SETTINGS=${socket_settings}", "TWITCH_STATE_DIRECTORY=${state_directory}"],
    unless      => "grep -qx ${socket_settings} ${state_directory}/socket",
    require     => Service['puppet-twitch-run.socket', 'puppet-twitch-log.socket'],
  }
  # The drop-in for TLS is part of these settings, because systemd passes certificate and key when the listener
  # starts. The listener reads CA and CRL itself, at every change.
  -> exec { 'twitch: let the listener start with its settings':
    command     => file('twitch/stop_listener.sh'),
    environment => ["TWITCH_SETTINGS=${listener_settings}", "TWITCH_STATE_DIRECTORY=${state_directory}"],
    unless      => "grep -qx ${listener_settings} ${state_directory}/listener",
  }
  -> service { 'puppet-twitch.socket':
    ensure => running,
    enable => true,
  }

  if $twitch::watch {
    service { 'puppet-twitch-watch.path':
      ensure    => running,
      enable    => true,
      subscribe => Twitch::Drop_in['puppet-twitch-watch.path'],
    }
  } else {
    # node_exporter would go on reading the file. Not a service resource, because an older package has no such unit.
    exec { 'twitch: stop the watch':
      command => "systemctl disable --now puppet-twitch-watch.path; rm -f ${twitch::units::textfile_path}",
      path    => ['/usr/bin', '/bin'],
      onlyif  => 'systemctl is-enabled puppet-twitch-watch.path || systemctl is-active puppet-twitch-watch.path',
    }
  }
}
