# @summary Tokens by name.
type Twitch::Tokens = Hash[Pattern[/\A[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}\z/], Twitch::Token]
