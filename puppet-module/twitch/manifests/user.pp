# @summary The listener's user and group, as the package would make them, with the numbers asked for.
# @api private
class twitch::user {
  if $twitch::manage_user {
    $groupmod = $twitch::gid ? {
      undef   => 'true',
      default => "groupmod --gid ${twitch::gid} ${twitch::group}",
    }
    $usermod = $twitch::uid ? {
      undef   => "usermod --home / ${twitch::user}",
      default => "usermod --uid ${twitch::uid} --home / ${twitch::user}",
    }
    $gid = $twitch::gid.lest || { '[0-9]*' }
    $uid = $twitch::uid.lest || { '[0-9]*' }

    # usermod leaves a user with processes as it is, and whoever waits for the run that applies this
    # does so in a listener. The files in /run keep the old number, and without them a listener of the
    # new one knows no run. One command, so that the port is open again whatever becomes of it.
    exec { 'twitch: change user and group, without a listener':
      command  => @("SCRIPT"/$),
        systemctl --quiet is-active puppet-twitch.socket && again=puppet-twitch.socket
        systemctl stop puppet-twitch.socket 'puppet-twitch[.@]*service'
        { ! getent group ${twitch::group} || ${groupmod}; } && { ! getent passwd ${twitch::user} || ${usermod}; }
        status=\$?
        chgrp --silent --no-dereference ${twitch::group} /run/puppet-twitch/run.sock /run/puppet-twitch/runs
        chgrp --silent --no-dereference ${twitch::group} /var/lib/puppet-twitch/runs
        test -z "\$again" || systemctl start \$again
        exit \$status
        | SCRIPT
      onlyif   => join([
          "getent group ${twitch::group} | grep -qv '^[^:]*:[^:]*:${gid}:'",
          "getent passwd ${twitch::user} | grep -qv '^[^:]*:[^:]*:${uid}:[^:]*:[^:]*:/:'",
      ], ' || '),
      path     => ['/usr/bin', '/bin', '/usr/sbin', '/sbin'],
      provider => 'shell',
    }
    -> group { $twitch::group:
      ensure => present,
      gid    => $twitch::gid,
      system => true,
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
