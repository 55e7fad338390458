# @summary What a caller may do. In the pattern of an environment, `*` stands for one or more characters.
type Twitch::Grant = Variant[
  Enum['trigger', 'noop', 'tags', 'status', 'logs', 'cancel', 'disable', 'metrics'],
  Pattern[/\Aenvironment=[A-Za-z0-9_*]+\z/]
]
