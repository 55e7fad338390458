# @summary Files for TLS, as paths on the node, and whether a client certificate is required.
type Twitch::Tls = Struct[{
  'cert'             => Twitch::Path,
  'key'              => Twitch::Path,
  'ca'               => Twitch::Path,
  'crl'              => Twitch::Path,
  Optional['client'] => Enum['optional', 'required'],
}]
