# @summary Files for TLS, as paths on the node; root reads them. CA and CRL are for client certificates.
type Twitch::Tls = Struct[{
  'certificate'   => Twitch::Path,
  'key'           => Twitch::Path,
  Optional['ca']  => Twitch::Path,
  Optional['crl'] => Twitch::Path,
}]
