"""`puppet-twitch check`: reads what both sides read, and changes nothing."""
