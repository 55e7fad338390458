# A line of /root/lines: a type with instances, for `resources { 'by_hand_line': purge => true }`.
Puppet::Type.newtype(:by_hand_line) do
  ensurable
  newparam(:name, namevar: true)
end
