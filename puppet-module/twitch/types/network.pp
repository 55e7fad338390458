# @summary An IPv4 or IPv6 address or network.
type Twitch::Network = Pattern[
  /\A(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}(\/(3[0-2]|[12]?\d))?\z/,
  /\A(?=[^:]*:[^:]*:)[0-9A-Fa-f:]+(\/(12[0-8]|1[01]\d|\d?\d))?\z/
]
