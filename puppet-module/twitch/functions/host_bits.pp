# @summary Whether an address has bits beyond the length of its network, as 10.0.0.1/8 has.
# @api private
#
# @param network
#   An address, or one with the length of its network.
#
# @return
#   `true` for what the node refuses: it could mean the address as well as the network.
function twitch::host_bits(Twitch::Network $network) >> Boolean {
  $parts = $network.split('/')
  if ':' in $network {
    # The groups before and after `::`, and as many of zeros as are missing.
    $halves = $parts[0].split('::')
    $left = $halves.get('0', '').split(':')
    $right = $halves.get('1', '').split(':')
    $zeros = (8 - $left.length - $right.length).map |$_| { '0' }
    $bits = ($left + $zeros + $right).map |$group| { sprintf('%016b', Integer("0x${group}")) }.join
  } else {
    $bits = $parts[0].split('\.').map |$group| { sprintf('%08b', Integer($group)) }.join
  }
  $length = $parts[1] ? {
    undef   => $bits.length,
    default => Integer($parts[1]),
  }
  $bits[$length, -1] =~ /1/
}
