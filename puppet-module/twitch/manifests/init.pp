# @summary Trigger Puppet runs on this node over HTTP, through systemd.
#
# Creates the system user, installs the package, writes its configuration, and enables and starts the
# two sockets; never the services, which systemd starts when somebody asks. The firewall is left alone.
#
# @example Port 2023 answers, and whoever reaches it may trigger a run
#   include twitch
#
# @example Only from two networks, on one address, and only with a token, over TLS
#   $ssl = '/etc/puppetlabs/puppet/ssl' # Debian's own Puppet: /var/lib/puppet/ssl
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
#     tls               => {
#       'cert' => "${ssl}/certs/${trusted['certname']}.pem",
#       'key'  => "${ssl}/private_keys/${trusted['certname']}.pem",
#       'ca'   => "${ssl}/certs/ca.pem",
#       'crl'  => "${ssl}/crl.pem",
#     },
#   }
#
# @param ensure
#   `absent` removes the package, its configuration and drop-ins, the sockets, and with `manage_user`
#   the user and the group. Without `manage_package`, package and user stay, and the sockets are off.
# @param user
#   The listener's user. It owns nothing, and may do no more than ask for a run.
# @param group
#   The listener's group, which may open the run socket and read the records of the runs.
# @param uid
#   Its number; the system chooses one without it. A change closes the port for the moment that it
#   takes, and callers who wait are told where to look.
# @param gid
#   Its group's number; the system chooses one without it.
# @param manage_user
#   Whether user and group are this module's, to create and, with `ensure => absent`, to remove. With
#   `false`, both must exist before this class is applied, also those that the package would make:
#   `tokens` belongs to the group and is written before the package comes.
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
#   Every node of a fleet has a certificate, and everybody has what `anonymous` has: to be open to
#   some only, say `anonymous => []`.
# @param tokens
#   Tokens by name: the SHA-256 of each, in hexadecimal, and the last day on which it is good. From
#   other machines they are taken over TLS only, unless `config` says `plaintext_tokens`.
#   Hiera merges all levels deeply: a node drops a token of a level above by letting it expire,
#   `expires: '2000-01-01'`.
# @param tls
#   Certificate and key of the listener, and for client certificates CA and CRL, as paths on the node,
#   which root reads. `client => required` refuses clients without a certificate. Without `tls`, plain
#   HTTP.
# @param run_timeout
#   How long a run may take before systemd ends it; in seconds, or with a unit: `90min`. Without it,
#   Puppet's own `runtimeout` alone counts. The time that a run with `queue=true` waits, an hour at
#   most, counts too. A new limit counts for later runs, and from the next `systemctl daemon-reload`
#   on, which any package may cause, for the one under way: it ends if it is older. So give an hour
#   more than the longest run takes, and if that is less than before, not while such a run goes on.
# @param config
#   What else `puppet-twitch.conf` can say, section by section: `cooldown` and `plaintext_tokens` in
#   `access`, `command` and `manifest` in `puppet`. Hiera merges all levels.
# @param manage_package
#   Whether the package is this module's to install and remove.
# @param package_name
#   Its name.
# @param package_ensure
#   `installed`, `latest` or a version. To remove it: `ensure`.
# @param package_source
#   A package file, if there is no repository that has it: a path on the node, or an URL of the kinds
#   `puppet:`, `http:` or `https:`. `package_ensure` then says the file's version, so that a newer
#   file is installed; `latest` would have nothing to compare with, and is refused.
# @param package_provider
#   How the package is installed, if not in the system's usual way.
# @param purge_gem
#   Removes what the Ruby gem of the same name has left: its daemon, which holds port 2023, its
#   directory in `/run`, the gem, and `/etc/sudoers.d/twitch`.
class twitch (
  Enum['present', 'absent'] $ensure = 'present',
  Twitch::Account $user = 'twitch',
  Twitch::Account $group = 'twitch',
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
  Pattern[/\A(installed|present|latest|[<>=\d].*)\z/] $package_ensure = 'installed',
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
