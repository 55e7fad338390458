# @summary Install the package. After an upgrade, its own scripts restart what has changed.
# @api private
class twitch::install {
  if $twitch::manage_package {
    if $twitch::package_source and $twitch::package_ensure == 'latest' {
      $reason = 'a file has one version; give that'
      fail("twitch::package_ensure: latest does not go with package_source: ${reason}")
    }
    if $twitch::package_source =~ Pattern[/\Ahttp:/] and !$twitch::package_sha256 {
      $reason = 'anyone on the way could replace the file, and its scripts run as root'
      fail("twitch::package_source: http: needs package_sha256: ${reason}; or use https: or puppet:")
    }
    if $twitch::package_sha256 and $twitch::package_source !~ Pattern[/\A\w+:/] {
      fail('twitch::package_sha256: only for a package_source that is a URL')
    }

    $package_file = $twitch::package_source ? {
      Undef          => undef,
      /\A\//         => $twitch::package_source,
      # The package tools recognise a package file by its suffix.
      /\.([a-z]+)\z/ => "/var/cache/puppet-twitch/${twitch::package_name}.${1}",
    }
    if $package_file != $twitch::package_source {
      $checksum = $twitch::package_sha256 ? {
        undef   => {},
        default => { 'checksum' => 'sha256', 'checksum_value' => $twitch::package_sha256.downcase },
      }
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
          *      => $checksum,
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
