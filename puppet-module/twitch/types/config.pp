# @summary The settings of puppet-twitch.conf that have no parameter of their own, by section.
type Twitch::Config = Struct[{
  Optional['access']  => Struct[{
    Optional['cooldown']         => Integer[0, 86400],
    Optional['plaintext_tokens'] => Boolean,
  }],
  # For sites that hand the files to the listener without the parameter `tls`.
  Optional['tls']     => Struct[{
    Optional['enabled']    => Boolean,
    Optional['client']     => Enum['optional', 'required'],
    Optional['ca']         => Twitch::Path,
    Optional['crl']        => Twitch::Path,
    Optional['revocation'] => Enum['chain', 'leaf', 'no'],
  }],
  # `size` is from 1M to 1024M, or 1G.
  Optional['runs']    => Struct[{
    Optional['keep'] => Integer[1, 1000],
    Optional['size'] => Pattern[/\A([1-9]\d{0,2}|10[01]\d|102[0-4])M\z/, /\A1G\z/],
  }],
  # `max` is the longest time for which a caller may disable Puppet, and `default` the usual one.
  Optional['disable'] => Struct[{
    Optional['default'] => Pattern[/\A[1-9]\d{0,7}[smhd]?\z/],
    Optional['max']     => Pattern[/\A[1-9]\d{0,7}[smhd]?\z/],
  }],
  Optional['puppet']  => Variant[
    Struct[{ Optional['command'] => Enum['agent'] }],
    Struct[{ 'command' => Enum['apply'], 'manifest' => Twitch::Path }]
  ],
}]
