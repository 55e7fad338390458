# @summary Files for TLS, as paths on the node, whether a client certificate is required, and which revocations count.
type Twitch::Tls = Struct[{
  'cert'                 => Twitch::Path,
  'key'                  => Twitch::Path,
  'ca'                   => Twitch::Path,
  Optional['crl']        => Twitch::Path,
  Optional['client']     => Enum['optional', 'required'],
  Optional['revocation'] => Enum['chain', 'leaf', 'no'],
}]
