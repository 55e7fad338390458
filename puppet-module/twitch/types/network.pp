# @summary An IPv4 or IPv6 address or network.
type Twitch::Network = Variant[
  Twitch::Address,
  # The patterns of Twitch::Address, and the length of the network: up to 32, or up to 128.
  Pattern[
    /\A(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}\/(3[0-2]|[12]?\d)\z/,
    /\A(\h{1,4}:){7}\h{1,4}\/(12[0-8]|1[01]\d|[1-9]?\d)\z/,
    /\A(?!:*(\h+:+){7}\h)(\h{1,4}(:\h{1,4})*)?::(\h{1,4}(:\h{1,4})*)?\/(12[0-8]|1[01]\d|[1-9]?\d)\z/
  ]
]
