# @summary What differs from the package's units, as drop-ins.
# @api private
class twitch::units {
  $addresses = [$twitch::listen_addresses].flatten
  if $addresses.empty {
    $listen = $twitch::port ? {
      2023    => [],
      default => ['ListenStream=', "ListenStream=${twitch::port}"],
    }
  } else {
    $streams = $addresses.map |$address| {
      $address ? {
        /:/     => "ListenStream=[${address}]:${twitch::port}",
        default => "ListenStream=${address}:${twitch::port}",
      }
    }
    # FreeBind: at boot, the addresses may come after the socket. IPv6 only: an address means itself,
    # and `0.0.0.0` and `::` can stand side by side.
    $listen = ['ListenStream='] + $streams + ['FreeBind=yes', 'BindIPv6Only=ipv6-only']
  }
  # As in per-connection.conf of the package.
  $shape = $twitch::per_connection ? {
    true    => ['Accept=yes', 'MaxConnections=64', 'MaxConnectionsPerSource=16'],
    default => [],
  }
  # On the socket: a list of the service does not apply to sockets that it is given.
  $wall = $twitch::allowed_addresses ? {
    []      => [],
    default => ['IPAddressDeny=any'] + $twitch::allowed_addresses.map |$network| { "IPAddressAllow=${network}" },
  }

  $identity = ($twitch::user == 'twitch' and $twitch::group == 'twitch') ? {
    true    => [],
    default => ["User=${twitch::user}", "Group=${twitch::group}"],
  }
  $credentials = $twitch::tls ? {
    undef   => [],
    default => ['cert', 'key', 'ca', 'crl'].map |$name| { "LoadCredential=${name}:${twitch::tls[$name]}" },
  }
  $socket = $listen + $shape + $wall
  $listener = $identity + $credentials

  $run_group = $twitch::group ? {
    'twitch' => [],
    default  => ["SocketGroup=${twitch::group}"],
  }
  $asker = $identity.empty ? {
    true    => [],
    default => ["Environment=PUPPET_TWITCH_USER=${twitch::user} PUPPET_TWITCH_GROUP=${twitch::group}"],
  }
  $timeout = $twitch::run_timeout ? {
    undef   => [],
    default => ["RuntimeMaxSec=${twitch::run_timeout}"],
  }

  # Nothing is notified: twitch::service sees for itself whether to restart the socket. A run is not ours to
  # end, and it may be the one that applies this. Templates need no daemon-reload: systemd reads their
  # drop-ins for each new instance.
  twitch::drop_in {
    default:
      section => 'Service',
      ;
    'puppet-twitch.socket':
      section => 'Socket',
      lines   => $socket,
      ;
    ['puppet-twitch.service', 'puppet-twitch@.service']:
      lines => $listener,
      ;
    'puppet-twitch-run.socket':
      section => 'Socket',
      lines   => $run_group,
      ;
    'puppet-twitch-run@.service':
      lines => $asker + $timeout,
      ;
  }

  # Of another group, a listener could neither ask nor read records; nobody shall be told meanwhile that
  # there is no such run.
  Twitch::Drop_in[
    'puppet-twitch.socket', 'puppet-twitch.service', 'puppet-twitch@.service',
    'puppet-twitch-run.socket', 'puppet-twitch-run@.service'
  ]
  -> exec { 'twitch: give the run socket to its group':
    command  => join([
        'systemctl daemon-reload',
        "systemctl stop puppet-twitch.socket 'puppet-twitch[.@]*service'",
        'systemctl restart puppet-twitch-run.socket',
        "for at in run var/lib; do runs=/\$at/puppet-twitch/runs; test ! -e \$runs || chgrp ${twitch::group} \$runs; done",
        'systemctl start puppet-twitch.socket',
    ], ' && '),
    onlyif   => "stat --format=%G /run/puppet-twitch/run.sock | grep -qvx ${twitch::group}",
    path     => ['/usr/bin', '/bin'],
    provider => 'shell',
  }
}
