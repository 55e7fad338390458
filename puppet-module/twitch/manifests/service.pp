# @summary The two sockets: enabled, listening, and restarted when they are not what was asked for.
# @api private
class twitch::service {
  service { 'puppet-twitch-run.socket':
    ensure => running,
    enable => true,
  }

  # What the socket was last started with, and not a notification: that would be lost for good in a run
  # that ends between the drop-in and here, and anybody's daemon-reload would close the port.
  # Certificates belong to it: they are handed over at the start of the listener, which goes with its
  # socket.
  $settings = sha256(($twitch::units::socket + $twitch::units::listener).join("\n"))
  $directory = '/var/lib/puppet-twitch'

  # Not `systemctl restart`, which would start a running listener again as well: without sockets, when
  # the socket has become one per connection. Stopped, the listener answers who waits, and goes. A
  # package that was upgraded in the same run may have tried the restart before us: hence reset-failed.
  exec { 'twitch: start the socket with its settings':
    command  => join([
        'systemctl daemon-reload',
        'systemctl stop puppet-twitch.socket puppet-twitch.service',
        'systemctl start puppet-twitch.socket',
        '{ systemctl reset-failed puppet-twitch.service 2>/dev/null || true; }',
        "mkdir -p ${directory}",
        "echo ${settings} >${directory}/socket",
    ], ' && '),
    unless   => "grep -qx ${settings} ${directory}/socket",
    path     => ['/usr/bin', '/bin'],
    provider => 'shell',
    require  => Service['puppet-twitch-run.socket'],
  }
  -> service { 'puppet-twitch.socket':
    ensure => running,
    enable => true,
  }
}
