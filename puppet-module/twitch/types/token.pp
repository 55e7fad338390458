# @summary A token as the node stores it: its SHA-256 in hexadecimal, and its last day.
type Twitch::Token = Struct[{
  'sha256'            => Pattern[/\A\h{64}\z/],
  # Only days that exist: for any other, the node would refuse the whole file.
  Optional['expires'] => Pattern[
    /\A2\d{3}-(0[13578]|1[02])-(0[1-9]|[12]\d|3[01])\z/,
    /\A2\d{3}-(0[469]|11)-(0[1-9]|[12]\d|30)\z/,
    /\A2\d{3}-02-(0[1-9]|1\d|2[0-8])\z/,
    /\A2(\d(0[48]|[2468][048]|[13579][26])|[048]00)-02-29\z/
  ],
}]
