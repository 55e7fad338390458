# @summary Seconds, or a number with one of systemd's units.
type Twitch::Timespan = Variant[Integer[1], Pattern[/\A[1-9]\d*(s|min|h|d)?\z/]]
