# frozen_string_literal: true

require 'ipaddr'

# @summary Whether an address has bits beyond the length of its network, as 10.0.0.1/8 has.
# @api private
Puppet::Functions.create_function(:'twitch::host_bits') do
  # @param network
  #   An address, or an address with the length of its network.
  # @return [Boolean]
  #   `true` for what the node refuses, because it could mean the address or the network.
  dispatch :host_bits do
    param 'Twitch::Network', :network
    return_type 'Boolean'
  end

  def host_bits(network)
    address, _length = network.split('/')
    # IPAddr clears the bits beyond the length.
    IPAddr.new(network) != IPAddr.new(address)
  end
end
