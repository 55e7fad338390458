# Generates other resources, before the transaction and in it.
Puppet::Type.newtype(:by_hand_generates) do
  newparam(:name, namevar: true)

  def generate
    [Puppet::Type.type(:file).new(name: self[:name], content: 'generated')]
  end

  def eval_generate
    [Puppet::Type.type(:notify).new(name: 'generated in the transaction')]
  end
end
