# @summary The two sockets: enabled, listening, and restarted when their drop-ins have changed.
# @api private
class twitch::service {
  # Puppet reloads systemd only for the unit that it is about to restart.
  exec { 'twitch: daemon-reload':
    command     => 'systemctl daemon-reload',
    path        => ['/usr/bin', '/bin'],
    refreshonly => true,
  }
  -> service { 'puppet-twitch-run.socket':
    ensure => running,
    enable => true,
  }
  # Not `systemctl restart`, which would start a running listener again as well: without sockets, when
  # the socket has become one per connection. Stopped, the listener answers who waits, and goes. A
  # package that was upgraded in the same run may have tried the restart before us: hence reset-failed.
  -> service { 'puppet-twitch.socket':
    ensure  => running,
    enable  => true,
    restart => join([
        'systemctl stop puppet-twitch.socket puppet-twitch.service',
        'systemctl start puppet-twitch.socket',
        '{ systemctl reset-failed puppet-twitch.service 2>/dev/null || true; }',
    ], ' && '),
  }
}
