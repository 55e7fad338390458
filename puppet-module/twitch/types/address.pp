# @summary An IPv4 or IPv6 address to listen on.
type Twitch::Address = Pattern[
  /\A(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}\z/,
  /\A(?=[^:]*:[^:]*:)[0-9A-Fa-f:]+(:\d+\.\d+\.\d+\.\d+)?\z/
]
