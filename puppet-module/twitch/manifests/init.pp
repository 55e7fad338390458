# @summary Trigger Puppet runs on this node over HTTP, through systemd.
#
# Creates the system user, installs the package, writes its configuration, and enables and starts the
# two sockets; never the services, which systemd starts when somebody asks. The firewall is left alone.
#
# @example Port 2023 answers, and whoever reaches it may trigger a run
#   include twitch
#
# @example Only from two networks, on one address, and only with a token
#   class { 'twitch':
#     listen_addresses  => '192.0.2.10',
#     allowed_addresses => ['10.0.0.0/8', '2001:db8::/32'],
#     access            => {
#       'anonymous'    => [],
#       'token:deploy' => ['trigger', 'tags', 'status', 'logs'],
#     },
#     tokens            => {
#       'deploy' => {
#         'sha256'  => 'c0067d4af4e87f00dbac63b6156828237059172d1bbeac67427345d6a9fda484',
#         'expires' => '2027-12-31',
#       },
#     },
#   }
#
# @param ensure
#   `absent` removes the package, its configuration and drop-ins, the sockets, and with `manage_user`
#   the user and the group.
# @param user
#   The listener's user. It owns nothing, and may do no more than ask for a run.
# @param group
#   The listener's group, which may open the run socket and read the records of the runs.
# @param uid
#   Its number; the system chooses one without it.
# @param gid
#   Its group's number; the system chooses one without it.
# @param manage_user
#   Whether user and group are this module's, to create and, with `ensure => absent`, to remove.
# @param listen_addresses
#   One address or several; without any, all addresses of the node. An address that the node does not
#   have yet is no error.
# @param port
#   The TCP port.
# @param per_connection
#   A listener process for each connection, instead of one for all: simpler, and slower.
# @param allowed_addresses
#   Addresses and networks that are heard at all, the node's own included; without any, everybody.
#   The listener refuses the others, and systemd drops their packets where the kernel lets it.
# @param puppet_path
#   Where `puppet` is, if it is in neither of the usual places.
# @param access
#   Which caller may do what: `anonymous`, `token:NAME` or `cert:NAME`, and any of `trigger`, `noop`,
#   `tags`, `environment=PATTERN`, `status`, `logs`. Without `anonymous` they get `trigger` and
#   `status`. Hiera merges the callers of all levels; for one caller, the most specific level decides.
# @param tokens
#   Tokens by name: the SHA-256 of each, in hexadecimal, and the day on which it expires.
#   Hiera merges all levels.
# @param tls
#   Certificate and key of the listener, and for client certificates CA and CRL, as paths on the node,
#   which root reads. `client => required` refuses clients without a certificate. Without `tls`, plain
#   HTTP.
# @param run_timeout
#   How long a run may take before systemd ends it; in seconds, or with a unit: `90min`. Without it,
#   Puppet's own `runtimeout` alone counts.
# @param config
#   Everything else of `puppet-twitch.conf`, section by section. Hiera merges all levels.
# @param manage_package
#   Whether the package is this module's to install and remove.
# @param package_name
#   Its name.
# @param package_ensure
#   `installed`, `latest` or a version.
# @param package_source
#   A package file, if there is no repository that has it: a path on the node, or an URL of the kinds
#   `puppet:`, `http:` or `https:`. `package_ensure` then says the file's version, so that a newer
#   file is installed.
# @param package_provider
#   How the package is installed, if not in the system's usual way.
# @param purge_gem
#   Removes what the Ruby gem of the same name has left: its daemon, which holds port 2023, its
#   directory in `/run`, the gem, and `/etc/sudoers.d/twitch`.
class twitch (
  Enum['present', 'absent'] $ensure = 'present',
  String[1] $user = 'twitch',
  String[1] $group = 'twitch',
  Optional[Integer[1]] $uid = undef,
  Optional[Integer[1]] $gid = undef,
  Boolean $manage_user = true,
  Variant[Twitch::Address, Array[Twitch::Address]] $listen_addresses = [],
  Integer[1, 65535] $port = 2023,
  Boolean $per_connection = false,
  Array[Twitch::Network] $allowed_addresses = [],
  Optional[Twitch::Path] $puppet_path = undef,
  Twitch::Access $access = {},
  Twitch::Tokens $tokens = {},
  Optional[Twitch::Tls] $tls = undef,
  Optional[Twitch::Timespan] $run_timeout = undef,
  Twitch::Config $config = {},
  Boolean $manage_package = true,
  String[1] $package_name = 'puppet-twitch',
  String[1] $package_ensure = 'installed',
  Optional[Twitch::PackageSource] $package_source = undef,
  Optional[String[1]] $package_provider = undef,
  Boolean $purge_gem = false,
) {
  if $purge_gem {
    contain twitch::gem
    # The daemon has the port, and a process of the user keeps the user from being changed.
    Class['twitch::gem'] -> Class[$ensure ? { 'present' => 'twitch::user', 'absent' => 'twitch::remove' }]
  }

  if $ensure == 'absent' {
    contain twitch::remove
  } else {
    contain twitch::user
    contain twitch::config
    contain twitch::units
    contain twitch::install
    contain twitch::service

    # Configuration before package: a package may start the sockets, as Debian's do, and must not open
    # the wrong port, or the right one to everybody, until we come to write what was meant.
    Class['twitch::user']
    -> Class['twitch::config']
    -> Class['twitch::units']
    -> Class['twitch::install']
    -> Class['twitch::service']
  }
}
