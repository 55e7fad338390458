# @summary A number of seconds, or a number with a unit: `s`, `min`, `h` or `d`.
type Twitch::Timespan = Variant[Integer[1], Pattern[/\A[1-9]\d*(s|min|h|d)?\z/]]
