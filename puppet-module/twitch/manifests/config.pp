# @summary /etc/puppet-twitch: puppet-twitch.conf and tokens. The listener sees a change at once.
# @api private
class twitch::config {
  $from = $twitch::allowed_addresses ? {
    []      => {},
    default => { 'from' => $twitch::allowed_addresses.join(' ') },
  }
  $callers = $twitch::access.reduce({}) |$all, $one| { $all + { $one[0] => $one[1].join(' ') } }
  $tls = $twitch::tls ? {
    undef   => {},
    default => { 'enabled' => true } + $twitch::tls.filter |$name, $value| { $name == 'client' },
  }
  $puppet = $twitch::puppet_path ? {
    undef   => {},
    default => { 'path' => $twitch::puppet_path },
  }
  $sections = { 'access' => $from + $callers, 'tls' => $tls, 'puppet' => $puppet }

  # The node would refuse the whole file, and answer 503 to everybody.
  $unclear = $twitch::allowed_addresses.filter |$network| { twitch::host_bits($network) }
  unless $unclear.empty {
    $where = "twitch::allowed_addresses: ${unclear.join(', ')}"
    fail("${where}: bits beyond the length of the network; give its first address, or the address alone")
  }
  $sections.each |$section, $values| {
    $twice = $values.keys.filter |$key| { $key in $twitch::config.get($section, {}) }
    unless $twice.empty {
      fail("twitch::config: [${section}] ${twice.join(', ')}: given by a parameter of its own as well")
    }
  }

  $names = ($sections.keys + $twitch::config.keys).unique
  $merged = $names.reduce({}) |$all, $name| {
    $all + { $name => $sections.get($name, {}) + $twitch::config.get($name, {}) }
  }

  file {
    default:
      owner => 'root',
      group => 'root',
      ;
    '/etc/puppet-twitch':
      ensure => directory,
      mode   => '0755',
      ;
    '/etc/puppet-twitch/puppet-twitch.conf':
      ensure  => file,
      mode    => '0644',
      content => epp('twitch/puppet-twitch.conf.epp', { 'sections' => $merged }),
      ;
    '/etc/puppet-twitch/tokens':
      ensure    => file,
      group     => $twitch::group,
      mode      => '0640',
      content   => epp('twitch/tokens.epp', { 'tokens' => $twitch::tokens }),
      show_diff => false,
      ;
  }
}
