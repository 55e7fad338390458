# @summary Write puppet-twitch.conf and tokens in /etc/puppet-twitch. The listener sees a change at once.
# @api private
class twitch::config {
  $from = $twitch::allowed_addresses ? {
    []      => {},
    default => { 'from' => $twitch::allowed_addresses.join(' ') },
  }
  $access = Hash($twitch::access.map |$caller, $grants| { [$caller, $grants.join(' ')] })
  $tls = $twitch::tls ? {
    undef   => {},
    default => { 'enabled' => true } + $twitch::tls.filter |$name, $value| { !($name in ['cert', 'key']) },
  }
  $puppet = $twitch::puppet_path ? {
    undef   => {},
    default => { 'path' => $twitch::puppet_path },
  }
  # What the parameters of this class say, by section and key.
  $sections = { 'access' => $from + $access, 'tls' => $tls, 'puppet' => $puppet }

  # The node would refuse the whole file because of such a network, and answer 503 to every request.
  $unclear_networks = $twitch::allowed_addresses.filter |$network| { twitch::host_bits($network) }
  unless $unclear_networks.empty {
    $where = "twitch::allowed_addresses: ${unclear_networks.join(', ')}"
    fail("${where}: bits beyond the length of the network; give its first address, or the address alone")
  }
  # An IPv4 client is compared as IPv4, so systemd's filter of these would keep everybody out.
  $mapped_networks = $twitch::allowed_addresses.filter |$network| {
    $network =~ /\A(?i:::|(0{1,4}:){5})(?i:ffff):\h{1,4}:\h{1,4}(\/|\z)/
  }
  unless $mapped_networks.empty {
    $where = "twitch::allowed_addresses: ${mapped_networks.join(', ')}"
    fail("${where}: IPv4 written as IPv6; write the IPv4 address or network")
  }
  $sections.each |$section, $settings| {
    $repeated_keys = $settings.keys.filter |$key| { $key in $twitch::config.get($section, {}) }
    unless $repeated_keys.empty {
      $where = "twitch::config: [${section}] ${repeated_keys.join(', ')}"
      fail("${where}: given by a parameter of its own as well")
    }
  }

  # Such a line never applies, and the node's own `puppet-twitch check` calls it a fault. A warning, because it
  # allows nothing, and because a fleet may share `access` where only some of its nodes have TLS or the token.
  $tls_enabled = $twitch::tls =~ NotUndef or $twitch::config.get('tls.enabled', false)
  $twitch::access.filter |$caller, $grants| { !$grants.empty }.each |$caller, $grants| {
    $where = "twitch::access of ${trusted['certname']}: ${caller} never applies"
    if $caller =~ /\Acert:/ and !$tls_enabled {
      warning("${where}, because client certificates need twitch::tls")
    }
    if $caller =~ /\Atoken:/ {
      # `*` is one or more characters.
      $pattern = $caller.regsubst('\Atoken:', '').regsubst('[.]', '[.]', 'G').regsubst('[*]', '.+', 'G')
      if $twitch::tokens.keys.filter |$name| { $name =~ "\\A${pattern}\\z" }.empty {
        warning("${where}, because twitch::tokens has no such name")
      }
    }
  }

  $section_names = ($sections.keys + $twitch::config.keys).unique
  $merged_sections = Hash($section_names.map |$name| {
    [$name, $sections.get($name, {}) + $twitch::config.get($name, {})]
  })

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
      content => epp('twitch/puppet-twitch.conf.epp', { 'sections' => $merged_sections }),
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
