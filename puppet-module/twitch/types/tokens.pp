# @summary Tokens by name.
type Twitch::Tokens = Hash[Pattern[/\A[A-Za-z0-9_.-]+\z/], Twitch::Token]
