# @summary The listener's user and group, as the package would make them, with the numbers asked for.
# @api private
class twitch::user {
  if $twitch::manage_user {
    $numbered = $twitch::uid ? {
      undef   => '',
      default => "--uid ${twitch::uid}",
    }
    $number = $twitch::uid ? {
      undef   => '[0-9]*',
      default => $twitch::uid,
    }

    group { $twitch::group:
      ensure => present,
      gid    => $twitch::gid,
      system => true,
    }
    # usermod leaves a user with processes as it is, and whoever waits for the run that applies this
    # does so in a listener. One command, so that the port is open again whatever becomes of it.
    -> exec { 'twitch: change the user, without a listener':
      command  => @("SCRIPT"/$),
        systemctl --quiet is-active puppet-twitch.socket && again=puppet-twitch.socket
        systemctl stop puppet-twitch.socket 'puppet-twitch[.@]*service'
        usermod ${numbered} --home / ${twitch::user}
        status=\$?
        test -z "\$again" || systemctl start \$again
        exit \$status
        | SCRIPT
      onlyif   => "getent passwd ${twitch::user} | grep -qv '^[^:]*:[^:]*:${number}:[^:]*:[^:]*:/:'",
      path     => ['/usr/bin', '/bin', '/usr/sbin', '/sbin'],
      provider => 'shell',
    }
    -> user { $twitch::user:
      ensure  => present,
      uid     => $twitch::uid,
      gid     => $twitch::group,
      system  => true,
      comment => 'Puppet Twitch listener',
      home    => '/',
      shell   => '/usr/sbin/nologin',
    }
  }
}
