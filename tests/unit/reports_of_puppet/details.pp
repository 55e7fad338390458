# Each outcome, and what Puppet writes about it. Before: mkdir /tmp/details; cd /tmp/details; echo old >content;
# touch 'as it should be' audited 'kept by noop' sensitive. The type `masked` is in masked.rb.
file { '/tmp/details/content': content => 'new' }
file { '/tmp/details/mode and content': content => "a\n", mode => '0600' }
file { '/tmp/details/as it should be': ensure => file }
file { '/tmp/details/kept by noop': content => "new\n", noop => true }
file { '/tmp/details/sensitive': content => Sensitive('secret-of-the-file') }
masked { 'db': password => 'secret-of-the-module' }
exec { '/bin/false': returns => 0 } -> notify { 'after a failure': } -> notify { "after\n  a skipped one": }
exec { 'names a secret': command => '/bin/echo secret-of-the-output', logoutput => true }
file { '/tmp/details/audited': audit => content }
schedule { 'long ago': range => '0:00 - 0:01', weekday => 'Mon' }
notify { 'not now': schedule => 'long ago' }
notify { 'refreshes': } ~> exec { '/bin/false again': command => '/bin/false', refreshonly => true }
notify { 'held by noop': noop => true } ~> exec { 'would be refreshed': command => '/bin/true', refreshonly => true }
exec { 'a title that is long enough for the lines of a report to be folded, which happens after eighty letters': command => '/bin/true' }
file { ["/tmp/details/ü #1: 'x'", '/tmp/details/"quoted" \\ x', "/tmp/details/'single'"]: ensure => file }
