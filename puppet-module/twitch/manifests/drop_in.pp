# @summary Settings of our own for a unit of the package; without any, no file.
# @api private
#
# @param unit
#   The unit.
# @param section
#   The section that all of them belong to.
# @param lines
#   The settings, `Name=value`.
define twitch::drop_in (
  Enum['Socket', 'Service'] $section,
  Array[String[1]] $lines,
  String[1] $unit = $title,
) {
  # Before `override.conf` in the alphabet, so that what an operator edits there wins.
  $path = "/etc/systemd/system/${unit}.d/50-puppet.conf"

  if $lines.empty {
    file { $path:
      ensure => absent,
    }
  } else {
    file {
      default:
        owner => 'root',
        group => 'root',
        ;
      "/etc/systemd/system/${unit}.d":
        ensure => directory,
        mode   => '0755',
        ;
      $path:
        ensure  => file,
        mode    => '0644',
        content => epp('twitch/drop_in.epp', { 'section' => $section, 'lines' => $lines }),
        ;
    }
  }
}
