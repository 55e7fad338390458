# @summary The package. Its own scripts restart the sockets when it is upgraded, so nothing here does.
# @api private
class twitch::install {
  if $twitch::manage_package {
    if $twitch::package_source and $twitch::package_ensure == 'latest' {
      fail('twitch::package_ensure: latest does not go with package_source: a file has one version; give that')
    }

    $file = $twitch::package_source ? {
      Undef                => undef,
      /\A\//               => $twitch::package_source,
      # The package tools know a file by its suffix.
      /\.([a-z]+)\z/       => "/var/cache/puppet-twitch/${twitch::package_name}.${1}",
    }
    if $file != $twitch::package_source {
      file {
        default:
          owner => 'root',
          group => 'root',
          ;
        '/var/cache/puppet-twitch':
          ensure => directory,
          mode   => '0755',
          ;
        $file:
          ensure => file,
          mode   => '0644',
          source => $twitch::package_source,
          before => Package[$twitch::package_name],
          ;
      }
    }

    # What stands in /etc/puppet-twitch stays: `configfiles => keep` is Puppet's default.
    package { $twitch::package_name:
      ensure   => $twitch::package_ensure,
      source   => $file,
      provider => $twitch::package_provider,
    }
  }
}
