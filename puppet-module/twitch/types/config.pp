# @summary What puppet-twitch.conf can say that has no parameter of its own, section by section.
type Twitch::Config = Struct[{
  Optional['access'] => Struct[{
    Optional['cooldown']         => Integer[0, 86400],
    Optional['plaintext_tokens'] => Boolean,
  }],
  # For who hands the files to the listener in another way than by `tls`.
  Optional['tls']    => Struct[{
    Optional['enabled'] => Boolean,
    Optional['client']  => Enum['optional', 'required'],
  }],
  Optional['puppet'] => Variant[
    Struct[{ Optional['command'] => Enum['agent'] }],
    Struct[{ 'command' => Enum['apply'], 'manifest' => Twitch::Path }]
  ],
}]
