# @summary Directives of systemd for the unit of the runs, section `[Service]`: a value, or a list of values.
type Twitch::RunSettings = Hash[
  # Without those on which puppet-twitch depends: how a run starts, and which user it is.
  Pattern[/\A(?!(Exec|Standard|Type\z|User\z|Group\z|DynamicUser\z|KillMode\z|RuntimeMaxSec\z))[A-Z][A-Za-z0-9]*\z/],
  Variant[Integer, Boolean, Pattern[/\A[^\n]*\z/], Array[Variant[Integer, Boolean, Pattern[/\A[^\n]*\z/]]]]
]
