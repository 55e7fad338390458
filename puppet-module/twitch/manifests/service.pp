# @summary The two sockets: enabled, listening, and restarted when they are not what was asked for.
# @api private
class twitch::service {
  # Both look at how things are, and wait for no notification: that would be lost for good in a run
  # that ends between the drop-in and here, and the next daemon-reload of anybody would close the port.
  # The templates need no daemon-reload: systemd reads their drop-ins for each new instance.
  Exec {
    path     => ['/usr/bin', '/bin'],
    provider => 'shell',
  }

  # The socket's file has the group's number of when it was made; a listener has that of its start; and
  # who waits for the run that applies this shall find it in runs/.
  exec { 'twitch: give the run socket to its group':
    command => join([
        'systemctl daemon-reload',
        'systemctl restart puppet-twitch-run.socket',
        "{ test ! -e /run/puppet-twitch/runs || chgrp ${twitch::group} /run/puppet-twitch/runs; }",
        "systemctl stop 'puppet-twitch[.@]*service'",
    ], ' && '),
    onlyif  => "stat --format=%G /run/puppet-twitch/run.sock | grep -qvx ${twitch::group}",
  }
  -> service { 'puppet-twitch-run.socket':
    ensure => running,
    enable => true,
  }

  # What the socket was last started with. Certificates belong to it: they are handed over at the start
  # of the listener, which goes with its socket.
  $settings = sha256(($twitch::units::socket + $twitch::units::listener).join("\n"))
  $directory = '/var/lib/puppet-twitch'

  # Not `systemctl restart`, which would start a running listener again as well: without sockets, when
  # the socket has become one per connection. Stopped, the listener answers who waits, and goes. A
  # package that was upgraded in the same run may have tried the restart before us: hence reset-failed.
  exec { 'twitch: start the socket with its settings':
    command => join([
        'systemctl daemon-reload',
        'systemctl stop puppet-twitch.socket puppet-twitch.service',
        'systemctl start puppet-twitch.socket',
        '{ systemctl reset-failed puppet-twitch.service 2>/dev/null || true; }',
        "mkdir -p ${directory}",
        "echo ${settings} >${directory}/socket",
    ], ' && '),
    unless  => "grep -qx ${settings} ${directory}/socket",
    require => Service['puppet-twitch-run.socket'],
  }
  -> service { 'puppet-twitch.socket':
    ensure => running,
    enable => true,
  }
}
