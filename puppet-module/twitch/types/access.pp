# @summary Callers, and the grants of each.
type Twitch::Access = Hash[Twitch::Caller, Array[Twitch::Grant]]
