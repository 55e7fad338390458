# @summary A caller: everyone, the holder of a token, or of a client certificate (`cert:*.example.com`).
type Twitch::Caller = Variant[
  Enum['anonymous'],
  Pattern[/\Atoken:[A-Za-z0-9_.*-]{1,64}\z/, /\Acert:[a-z0-9_.*-]{1,253}\z/]
]
