# @summary Write a drop-in of the module for one unit of the package, or remove it if there are no settings.
# @api private
#
# @param unit
#   The unit.
# @param section
#   The section to which all of the settings belong.
# @param lines
#   The settings, `Name=value`.
# @param file
#   The name of the drop-in, which decides when systemd reads it: in the order of the alphabet, whichever
#   directory it is in.
define twitch::drop_in (
  Enum['Socket', 'Service', 'Path'] $section,
  Array[String[1]] $lines,
  String[1] $unit = $title,
  # Before `override.conf` in the alphabet, so that what an operator writes with `systemctl edit` wins.
  String[1] $file = '50-puppet.conf',
) {
  $path = "/etc/systemd/system/${unit}.d/${file}"

  if $lines.empty {
    file { $path:
      ensure => absent,
    }
  } else {
    # Not a file resource, because another module with a drop-in for this unit may declare the directory as
    # one.
    exec { "twitch: make ${unit}.d for ${file}":
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
