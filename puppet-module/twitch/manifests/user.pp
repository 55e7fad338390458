# @summary The listener's user and group, as the package would make them, with the numbers asked for.
# @api private
class twitch::user {
  if $twitch::manage_user {
    group { $twitch::group:
      ensure => present,
      gid    => $twitch::gid,
      system => true,
    }
    user { $twitch::user:
      ensure  => present,
      uid     => $twitch::uid,
      gid     => $twitch::group,
      system  => true,
      comment => 'Puppet Twitch listener',
      home    => '/',
      shell   => '/usr/sbin/nologin',
      require => Group[$twitch::group],
    }
  }
}
