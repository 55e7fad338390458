# @summary An IPv4 or IPv6 address to listen on; IPv6 as eight groups, or fewer and one `::`.
type Twitch::Address = Pattern[
  /\A(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}\z/,
  /\A(\h{1,4}:){7}\h{1,4}\z/,
  /\A(?=.*::)(?!.*::.*::)(?!(:*\h+\b){8})(\h{1,4}|(?=::))(::?\h{1,4})*(::)?\z/
]
