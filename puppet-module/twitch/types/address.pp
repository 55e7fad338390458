# @summary An IPv4 or IPv6 address to listen on; IPv6 as eight groups, or as fewer with one `::`.
type Twitch::Address = Pattern[
  # IPv4: four numbers up to 255, without leading zeros.
  /\A(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}\z/,
  # IPv6 in full: eight groups.
  /\A(\h{1,4}:){7}\h{1,4}\z/,
  # IPv6 with `::` between groups before and groups after it, each of which may be none, but not eight in all.
  /\A(?!:*(\h+:+){7}\h)(\h{1,4}(:\h{1,4})*)?::(\h{1,4}(:\h{1,4})*)?\z/
]
