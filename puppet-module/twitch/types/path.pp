# @summary An absolute path.
type Twitch::Path = Pattern[/\A\/[^\n\r\t ]*\z/]
