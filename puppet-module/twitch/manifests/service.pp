# @summary Enable and start the two sockets, and restart the listener's socket if its settings have changed.
# @api private
class twitch::service {
  service { 'puppet-twitch-run.socket':
    ensure => running,
    enable => true,
  }

  # The settings with which the socket was last started are recorded on the node and compared here. A
  # notification would be lost for good in a run that ends between the drop-in and this resource, and the next
  # daemon-reload, for whatever reason, would close the port. The files for TLS are part of the settings,
  # because the listener gets them when it starts, and the exec stops it together with its socket.
  $settings = sha256(($twitch::units::socket_settings + $twitch::units::listener_settings).join("\n"))
  $state_directory = '/var/lib/puppet-twitch'

  exec { 'twitch: start the socket with its settings':
    command     => file('twitch/restart_socket.sh'),
    environment => ["TWITCH_SETTINGS=${settings}", "TWITCH_STATE_DIRECTORY=${state_directory}"],
    unless      => "grep -qx ${settings} ${state_directory}/socket",
    path        => ['/usr/bin', '/bin'],
    provider    => 'shell',
    require     => Service['puppet-twitch-run.socket'],
  }
  -> service { 'puppet-twitch.socket':
    ensure => running,
    enable => true,
  }
}
