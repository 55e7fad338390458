# @summary Trigger Puppet runs on this node over HTTP, through systemd.
#
# Creates the system user, installs the package, writes its configuration, and enables and starts the
# two sockets, but not the services, which systemd starts on demand. It does not touch the firewall.
#
# @example Listen on port 2023; everyone who can reach the port may trigger a run
#   include twitch
#
# @example Listen on one address, for two networks, and require a token, over TLS
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
#   the user and the group. Without `manage_package`, it only stops and disables the sockets, and
#   removes configuration and drop-ins; package and user stay.
# @param user
#   The listener's user. It owns nothing, and can only ask root for a run.
# @param group
#   The listener's group. It can open the run socket and read the records of the runs.
# @param uid
#   The number of the user; by default the system chooses one. A change closes the port for a moment,
#   and waiting callers get `202` and the address of the run's result.
# @param gid
#   The number of the group; by default the system chooses one. A change is like a change of `uid`.
# @param manage_user
#   Whether this module creates the user and the group and, with `ensure => absent`, removes them.
#   With `false`, both must exist before this class is applied, even if the package would create them,
#   because the file `tokens` belongs to the group and is written before the package is installed.
# @param listen_addresses
#   One address or several; by default all addresses of the node. An address that the node does not
#   have yet is not an error.
# @param port
#   The TCP port.
# @param per_connection
#   Start a listener process for each connection, instead of one for all. Simpler and slower.
# @param allowed_addresses
#   Addresses and networks from which requests are accepted; by default all. The node's own addresses
#   are not exempt. The listener refuses other addresses, and systemd drops their packets where the
#   kernel supports that.
# @param puppet_path
#   The path of `puppet`, if it is in neither of the usual places.
# @param access
#   The grants of each caller. A caller is `anonymous`, `token:NAME` or `cert:NAME`; a grant is
#   `trigger`, `noop`, `tags`, `environment=PATTERN`, `status`, `logs`, `cancel`, `disable` or `metrics`. Unless
#   `anonymous` is given, it has `trigger` and `status`. Hiera merges the callers of all levels; for one caller, the most
#   specific level applies. Every node of a fleet has a certificate, and every caller has the grants
#   of `anonymous`: to restrict access to certain callers, set `anonymous => []`.
# @param tokens
#   Tokens by name: the SHA-256 of each, in hexadecimal, and optionally the last day on which it is
#   valid, a string. A list of several for one name are all valid, while one replaces another. From
#   other machines, tokens are accepted over TLS only, unless `config` sets `plaintext_tokens`.
#   Hiera merges all levels deeply. To revoke a token of a higher level on one node, let it expire
#   there: `expires: '2000-01-01'`.
# @param tls
#   The listener's certificate and key, and the CA and CRL for client certificates, as paths on the
#   node. Root reads certificate and key. The listener reads CA and CRL itself, at every change, so its
#   user must be able to; below `/var/lib/puppet/ssl` this module sees to that. `client => required`
#   refuses clients without a certificate. `revocation` is `chain` (the default), `leaf` or `no`, with the
#   meanings of Puppet's `certificate_revocation`; with `no`, `crl` is not needed. Without `tls`, the
#   listener speaks plain HTTP.
# @param run_timeout
#   The time after which systemd ends a run, in seconds or with a unit: `90min`. It includes the time
#   in the queue. Before you set it, read the section "Runs" of README.md. Only Puppet is ended: a command
#   that the run has started, such as a package manager, goes on. By default only Puppet's own `runtimeout`
#   applies.
# @param run_settings
#   Directives of systemd for the unit of the runs, section `[Service]`. Use it for what your site has
#   set for `puppet.service`: `{ 'Environment' => 'http_proxy=http://proxy:3128', 'UMask' => '0027' }`.
#   Hiera merges the directives of all levels.
# @param watch
#   Put runs that Puppet has started itself on record, and write the metrics for node_exporter, whenever a run
#   begins or ends and the agent is disabled or enabled. This enables `puppet-twitch-watch.path`.
# @param watch_textfile
#   The file for the metrics, `*.prom`, if node_exporter does not read its textfiles in
#   `/var/lib/prometheus/node-exporter`. Its directory must exist.
# @param watch_directories
#   Puppet's `statedir` on the node, if it is not the usual one of a package: the directory of its locks.
# @param config
#   Settings of `puppet-twitch.conf` that have no parameter, by section: `cooldown` and
#   `plaintext_tokens` in `access`, `command` and `manifest` in `puppet`, `keep` and `size` of the
#   history in `runs`. Hiera merges all levels deeply.
# @param manage_package
#   Whether this module installs and removes the package.
# @param package_name
#   The name of the package.
# @param package_ensure
#   `installed`, `latest` or a version. To remove the package, use `ensure`.
# @param package_source
#   A package file, for sites without a repository: a path on the node, or a URL that begins with
#   `puppet:`, `http:` or `https:`. Set `package_ensure` to the version of the file, so that a newer
#   file is installed. `latest` is refused, because there is nothing to compare a file with.
# @param package_sha256
#   The SHA-256 of the package file that is fetched from a URL, in hexadecimal. Required with `http:`,
#   because anyone on the way could replace the file, and its scripts run as root.
# @param package_provider
#   The provider of the package resource; by default the usual one of the system.
# @param purge_gem
#   Remove what the Ruby gem of the same name has left: its daemon, which occupies port 2023, its
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
  Twitch::RunSettings $run_settings = {},
  Boolean $watch = false,
  Optional[Twitch::Path] $watch_textfile = undef,
  Array[Twitch::Path] $watch_directories = [],
  Twitch::Config $config = {},
  Boolean $manage_package = true,
  String[1] $package_name = 'puppet-twitch',
  Pattern[/\A(installed|present|latest|[<>=\d].*)\z/] $package_ensure = 'installed',
  Optional[Twitch::PackageSource] $package_source = undef,
  Optional[Pattern[/\A\h{64}\z/]] $package_sha256 = undef,
  Optional[String[1]] $package_provider = undef,
  Boolean $purge_gem = false,
) {
  if $purge_gem {
    contain twitch::gem
    # First, because the gem's daemon occupies the port, and its processes keep the user from being changed or
    # removed.
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

    # Configuration before package, because a package may start the sockets, as Debian's does. Until the
    # configuration is written, it would open the wrong port, or the right port to everyone.
    Class['twitch::user']
    -> Class['twitch::config']
    -> Class['twitch::units']
    -> Class['twitch::install']
    -> Class['twitch::service']
  }
}
