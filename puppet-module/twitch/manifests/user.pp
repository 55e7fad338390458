# @summary Create the listener's user and group as the package would, with the numbers that are asked for.
# @api private
class twitch::user {
  # Before anything is changed. The gem's user may log in, and is taken over; with `manage_user => false` the
  # site answers for the account, and the package's own script for one called twitch.
  if $twitch::manage_user and !$twitch::purge_gem {
    exec { 'twitch: refuse the account of somebody else':
      command     => file('twitch/refuse_account.sh'),
      environment => ["TWITCH_USER=${twitch::user}", "TWITCH_GROUP=${twitch::group}"],
      unless      => file('twitch/refuse_account.sh'),
      path        => ['/usr/bin', '/bin'],
      provider    => 'shell',
      before      => Exec['twitch: change user and group, without a listener'],
    }
  }

  if $twitch::manage_user {
    $numbers = { 'TWITCH_UID' => $twitch::uid, 'TWITCH_GID' => $twitch::gid }.filter |$name, $number| {
      $number =~ NotUndef
    }
    $environment = { 'TWITCH_USER' => $twitch::user, 'TWITCH_GROUP' => $twitch::group } + $numbers

    # The lines of group(5) and passwd(5) that need no change. A number that is not asked for may be any.
    $gid = $twitch::gid.lest || { '[0-9]*' }
    $uid = $twitch::uid.lest || { '[0-9]*' }
    $group_line = "^[^:]*:[^:]*:${gid}:"
    $user_line = "^[^:]*:[^:]*:${uid}:[^:]*:[^:]*:/:"

    # The resources below cannot change a user that has processes. One command, so that the port is open again
    # whatever fails in it. Only if the group or the user exists and has another number or home directory.
    exec { 'twitch: change user and group, without a listener':
      command     => file('twitch/change_user.sh'),
      environment => $environment.map |$name, $value| { "${name}=${value}" },
      onlyif      => join([
          "getent group ${twitch::group} | grep -qv '${group_line}'",
          "getent passwd ${twitch::user} | grep -qv '${user_line}'",
      ], ' || '),
      path        => ['/usr/bin', '/bin', '/usr/sbin', '/sbin'],
      provider    => 'shell',
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
