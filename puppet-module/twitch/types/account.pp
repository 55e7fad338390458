# @summary The name of a user or a group.
type Twitch::Account = Pattern[/\A[A-Za-z_][A-Za-z0-9_-]{0,31}\z/]
