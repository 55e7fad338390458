# Many kinds of resources; test_site_by_hand.py compares what becomes of each.
Exec { path => '/usr/bin:/bin', logoutput => true }
$dir = '/root/by-hand'

file { $dir: ensure => directory }
-> file { "${dir}/mode-of-the-umask": content => 'x' }
file { "${dir}/naïve": content => 'ünïcode' }
file { "${dir}/link": ensure => link, target => 'naïve' }
file { "${dir}/tree": ensure => directory, recurse => true, source => '/root/tree' }
file { '/root/replaced': content => 'new', backup => '.before' }

# Resources that others generate.
file { '/root/purged': ensure => directory, recurse => true, purge => true, force => true }
tidy { '/root/tidied': recurse => true, age => '0', matches => ['*.old'] }
by_hand_generates { "${dir}/generated": require => File[$dir] }
by_hand_line { 'kept': ensure => present }
resources { 'by_hand_line': purge => true }

# Values that this node finds out.
notify { 'deferred': message => Deferred('sprintf', ['%s by a function', 'made']) }
notify { 'facts': message => "${facts['identity']['user']} ${facts['by_hand']}" }

group { 'by-hand': gid => 7001 }
-> user { 'by-hand': uid => 7001, gid => 'by-hand', home => "${dir}/home", managehome => true, require => File[$dir] }
-> file { "${dir}/owned": content => 'x', owner => 'by-hand', group => 'by-hand', mode => '0640' }
-> exec { 'as-user':
  command     => 'sh -c "id; umask; pwd; echo \$HOME \$A"',
  user        => 'by-hand',
  cwd         => '/',
  umask       => '077',
  environment => ['A=b'],
}

package { 'by-hand': ensure => latest }
-> file { '/etc/by-hand.conf': content => 'changed' }
~> service { 'by-hand': ensure => running, enable => true }

# Processes that outlive the run: in the background, in a session of its own, forked twice, without SIGHUP.
exec { 'children':
  command  => 'sleep 3001 & setsid sleep 3002 & (setsid sh -c "sleep 3003 & exit") & nohup sleep 3004 & :',
  provider => shell,
}

exec { 'bytes': command => 'printf "caf\351 \377\376\033[31m\n"', provider => shell }
exec { 'unlogged-bytes': command => 'printf "caf\351 \377\376\n"', provider => shell, logoutput => false }
exec { 'large': command => 'seq 1 300; head -c 1000000 /dev/zero | tr "\0" x', provider => shell }
exec { 'errors': command => 'sh -c "echo to stderr >&2; echo to stdout"' }
exec { 'input': command => 'cat' }
exec { 'terminal': command => 'tty; stty size; read answer </dev/tty; true', provider => shell }
exec { 'closed-pipe': command => 'bash -c "yes 2>/dev/null | head -n 1; echo \${PIPESTATUS[0]}"' }
exec { 'locale': command => 'locale' }
exec { 'probe': command => '/root/probe /root/seen/exec' }
exec { 'unless': command => 'false', unless => 'true' }
exec { 'slow': command => 'sleep 30', timeout => 0.2 }
exec { 'killed': command => 'sh -c "kill -SEGV $$"', provider => shell }
exec { 'fails': command => 'sh -c "echo the reason; exit 3"' }
-> notify { 'skipped': }
file { '/no/such/place': content => 'x' }
file { '/root/notifies': content => 'x' }
~> exec { 'fails-when-notified': command => 'false', refreshonly => true }
notify { 'not-now': noop => true }
