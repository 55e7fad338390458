# @summary A package file: a path on the node, or the URL to fetch it from.
type Twitch::PackageSource = Variant[
  Twitch::Path,
  Pattern[/\A(puppet|https?):\/\/\S+\.(deb|rpm)\z/]
]
