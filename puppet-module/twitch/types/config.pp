# @summary Sections of puppet-twitch.conf, their keys and values, each on one line.
type Twitch::Config = Hash[
  Pattern[/\A[a-z]+\z/],
  Hash[Pattern[/\A[^\s=\[#;][^=\n\r]*\z/], Variant[Boolean, Integer, Pattern[/\A[^\n\r]*\z/]]]
]
