# @summary Tokens by name: one, or a list of all that are valid for that name while one replaces another.
type Twitch::Tokens = Hash[
  Pattern[/\A[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}\z/],
  Variant[Twitch::Token, Array[Twitch::Token, 1]]
]
