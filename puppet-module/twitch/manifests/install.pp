# @summary Install the package. Its own scripts restart the sockets after an upgrade, so nothing here does.
# @api private
class twitch::install {
  if $twitch::manage_package {
    if $twitch::package_source and $twitch::package_ensure == 'latest' {
      $reason = 'a file has one version; give that'
      fail("twitch::package_ensure: latest does not go with package_source: ${reason}")
    }

    $package_file = $twitch::package_source ? {
      Undef          => undef,
      /\A\//         => $twitch::package_source,
      # The package tools recognise a package file by its suffix.
      /\.([a-z]+)\z/ => "/var/cache/puppet-twitch/${twitch::package_name}.${1}",
    }
    if $package_file != $twitch::package_source {
      file {
        default:
          owner => 'root',
          group => 'root',
          ;
        '/var/cache/puppet-twitch':
          ensure => directory,
          mode   => '0755',
          ;
        $package_file:
          ensure => file,
          mode   => '0644',
          source => $twitch::package_source,
          before => Package[$twitch::package_name],
          ;
      }
    }

    # The package does not overwrite what is in /etc/puppet-twitch: `configfiles => keep` is Puppet's default.
    package { $twitch::package_name:
      ensure   => $twitch::package_ensure,
      source   => $package_file,
      provider => $twitch::package_provider,
    }
  }
}
