# @summary An absolute path, without blanks and line breaks.
type Twitch::Path = Pattern[/\A\/[^\n\r\t ]*\z/]
