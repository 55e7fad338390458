# @summary The settings of puppet-twitch.conf that have no parameter of their own, by section.
type Twitch::Config = Struct[{
  Optional['access'] => Struct[{
    Optional['cooldown']         => Integer[0, 86400],
    Optional['plaintext_tokens'] => Boolean,
  }],
  # For sites that hand the files to the listener without the parameter `tls`.
  Optional['tls']    => Struct[{
    Optional['enabled']    => Boolean,
    Optional['client']     => Enum['optional', 'required'],
    Optional['ca']         => Twitch::Path,
    Optional['crl']        => Twitch::Path,
    Optional['revocation'] => Enum['chain', 'leaf', 'no'],
  }],
  Optional['puppet'] => Variant[
    Struct[{ Optional['command'] => Enum['agent'] }],
    Struct[{ 'command' => Enum['apply'], 'manifest' => Twitch::Path }]
  ],
}]
