# @summary Callers, and what each of them may do.
type Twitch::Access = Hash[Twitch::Caller, Array[Twitch::Grant]]
