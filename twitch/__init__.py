"""puppet-twitch: trigger a Puppet run on this node over HTTP, through systemd."""

__version__ = "1.0.0"
