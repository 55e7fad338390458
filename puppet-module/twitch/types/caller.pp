# @summary Who asks: anybody, the holder of a token, or of a client certificate (`cert:*.example.com`).
type Twitch::Caller = Variant[
  Enum['anonymous'],
  Pattern[/\Atoken:[A-Za-z0-9_.-]+\z/, /\Acert:[A-Za-z0-9_.*-]+\z/]
]
