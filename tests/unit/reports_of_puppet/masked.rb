# A type of a module that masks its message, and leaves the values of its events as they are.
Puppet::Type.newtype(:masked) do
  newparam(:name, namevar: true)
  newproperty(:password) do
    def retrieve
      'old-secret'
    end

    def set(value); end

    def change_to_s(_current, _desired)
      'password changed'
    end
  end
end
