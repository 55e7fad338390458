# @summary A token, as the node knows it: its SHA-256 in hexadecimal, and its last day.
type Twitch::Token = Struct[{
  'sha256'            => Pattern[/\A\h{64}\z/],
  Optional['expires'] => Pattern[/\A\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\z/],
}]
