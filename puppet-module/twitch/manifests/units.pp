# @summary Write the drop-ins: the settings that differ from the package's units.
# @api private
class twitch::units {
  # The listener's socket, puppet-twitch.socket.
  $addresses = [$twitch::listen_addresses].flatten
  if $addresses.empty {
    $listen_addresses = $twitch::port ? {
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
    # FreeBind, because an address may come after the socket at boot. IPv6 only, so that each address means
    # itself, and `0.0.0.0` and `::` can be given together.
    $listen_addresses = ['ListenStream='] + $streams + ['FreeBind=yes', 'BindIPv6Only=ipv6-only']
  }
  # The same lines as in the package's per-connection.conf.
  $accept_options = $twitch::per_connection ? {
    true    => ['Accept=yes', 'MaxConnections=64', 'MaxConnectionsPerSource=16'],
    default => [],
  }
  # On the socket, because a filter of the service does not apply to sockets that systemd hands to it.
  $allowed_lines = $twitch::allowed_addresses.map |$network| { "IPAddressAllow=${network}" }
  $address_filter = $allowed_lines ? {
    []      => [],
    default => ['IPAddressDeny=any'] + $allowed_lines,
  }
  $socket_settings = $listen_addresses + $accept_options + $address_filter

  # The listener, puppet-twitch.service or puppet-twitch@.service.
  $identity = ($twitch::user == 'twitch' and $twitch::group == 'twitch') ? {
    true    => [],
    default => ["User=${twitch::user}", "Group=${twitch::group}"],
  }
  $credentials = $twitch::tls ? {
    undef   => [],
    default => ['cert', 'key'].map |$name| { "LoadCredential=${name}:${twitch::tls[$name]}" },
  }
  # The listener reads CA and CRL itself. Debian's /var/lib/puppet is closed to its user, so it sees an empty
  # directory there, with Puppet's ssl in it.
  $public_files = $twitch::tls ? {
    undef   => [],
    default => [$twitch::tls['ca'], $twitch::tls['crl']].filter |$path| { $path =~ /\A\/var\/lib\/puppet\/ssl\// },
  }
  $view = $public_files ? {
    []      => [],
    default => ['TemporaryFileSystem=/var/lib/puppet:ro', 'BindReadOnlyPaths=/var/lib/puppet/ssl'],
  }
  $tls_settings = $credentials + $view
  $listener_settings = $identity + $tls_settings

  # The sockets of root and of the log reader, puppet-twitch-run.socket and puppet-twitch-log.socket.
  $private_socket_group = $twitch::group ? {
    'twitch' => [],
    default  => ["SocketGroup=${twitch::group}"],
  }

  # The handler, which becomes the run, puppet-twitch-run@.service, and the log reader. They accept questions of
  # this user only, and the handler gives its records to this group.
  $expected_listener = $identity.empty ? {
    true    => [],
    default => ["Environment=PUPPET_TWITCH_USER=${twitch::user} PUPPET_TWITCH_GROUP=${twitch::group}"],
  }
  $time_limit = $twitch::run_timeout ? {
    undef   => [],
    default => ["RuntimeMaxSec=${twitch::run_timeout}"],
  }

  $run_settings = $twitch::run_settings.map |$name, $values| {
    [$values].flatten.map |$value| { "${name}=${value}" }
  }.flatten

  # The watch.
  $watched_locks = $twitch::watch_directories.map |$directory| {
    ['run', 'disabled'].map |$name| {
      $lock = $name ? { 'run' => 'agent_catalog_run', default => 'agent_disabled' }
      "PathChanged=${directory}/${lock}.lock"
    }
  }.flatten
  $textfile_path = $twitch::watch_textfile.lest || { '/var/lib/prometheus/node-exporter/puppet-twitch.prom' }
  $textfile = $twitch::watch_textfile ? {
    undef   => [],
    default => [
      "Environment=PUPPET_TWITCH_TEXTFILE=${twitch::watch_textfile}",
      "ReadWritePaths=${twitch::watch_textfile.regsubst('/[^/]*\z', '')}",
    ],
  }

  # The drop-ins notify nothing. twitch::service compares the settings of the listener and its socket itself. A run
  # must not be ended, because it may be the run that applies this. Templates need no daemon-reload, because
  # systemd reads their drop-ins for each new instance.
  twitch::drop_in {
    default:
      section => 'Service',
      ;
    'puppet-twitch.socket':
      section => 'Socket',
      lines   => $socket_settings,
      ;
    ['puppet-twitch.service', 'puppet-twitch@.service']:
      lines => $identity,
      ;
    # LXC and Incus give all services a drop-in zzz-lxc-service.conf, whose empty LoadCredential= takes away
    # the credentials of drop-ins that sort before it.
    'puppet-twitch.service, tls':
      unit  => 'puppet-twitch.service',
      file  => 'zzz-puppet-tls.conf',
      lines => $tls_settings,
      ;
    'puppet-twitch@.service, tls':
      unit  => 'puppet-twitch@.service',
      file  => 'zzz-puppet-tls.conf',
      lines => $tls_settings,
      ;
    ['puppet-twitch-run.socket', 'puppet-twitch-log.socket']:
      section => 'Socket',
      lines   => $private_socket_group,
      ;
    'puppet-twitch-run@.service':
      lines => $expected_listener + $time_limit + $run_settings,
      ;
    'puppet-twitch-log@.service':
      lines => $expected_listener,
      ;
    'puppet-twitch-watch.path':
      section => 'Path',
      lines   => $watched_locks,
      ;
    'puppet-twitch-watch.service':
      lines => $expected_listener + $textfile,
      ;
  }

  # Only if one of these sockets exists and has another group.
  Twitch::Drop_in[
    'puppet-twitch.socket', 'puppet-twitch.service', 'puppet-twitch@.service',
    'puppet-twitch.service, tls', 'puppet-twitch@.service, tls',
    'puppet-twitch-run.socket', 'puppet-twitch-run@.service',
    'puppet-twitch-log.socket', 'puppet-twitch-log@.service',
    'puppet-twitch-watch.path', 'puppet-twitch-watch.service'
  ]
  -> exec { 'twitch: give the run socket to its group':
    command     => file('twitch/change_run_group.sh'),
    environment => ["TWITCH_GROUP=${twitch::group}"],
    onlyif      => "stat --format=%G /run/puppet-twitch/run.sock /run/puppet-twitch/log.sock | grep -qvx ${twitch::group}",
    path        => ['/usr/bin', '/bin'],
    provider    => 'shell',
  }
}
