# @summary Write the module's drop-in of one unit of the package, or remove it if there are no settings.
# @api private
#
# @param unit
#   The unit.
# @param section
#   The section to which all of the settings belong.
# @param lines
#   The settings, `Name=value`.
define twitch::drop_in (
  Enum['Socket', 'Service'] $section,
  Array[String[1]] $lines,
  String[1] $unit = $title,
) {
  # Before `override.conf` in the alphabet, so that what an operator writes with `systemctl edit` wins.
  $path = "/etc/systemd/system/${unit}.d/50-puppet.conf"

  if $lines.empty {
    file { $path:
      ensure => absent,
    }
  } else {
    # Not a file resource, because another module with a drop-in for this unit may declare the directory as
    # one.
    exec { "twitch: make ${unit}.d":
      command => "mkdir --mode=755 /etc/systemd/system/${unit}.d",
      creates => "/etc/systemd/system/${unit}.d",
      path    => ['/usr/bin', '/bin'],
    }
    -> file { $path:
      ensure  => file,
      owner   => 'root',
      group   => 'root',
      mode    => '0644',
      content => epp('twitch/drop_in.epp', { 'section' => $section, 'lines' => $lines }),
    }
  }
}
