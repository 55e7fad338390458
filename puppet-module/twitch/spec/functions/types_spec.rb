# frozen_string_literal: true

digest = 'a' * 64
{
  'Twitch::Address' => [
    ['192.0.2.1', '0.0.0.0', '::', '::1', '2001:db8::a', '2001:DB8::', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7::', '::2:3:4:5:6:7:8'],
    ['', '256.0.0.1', '192.0.2', '192.0.02.1', '192.0.2.1:80', '[::1]', 'node', "::1\nAccept=yes", '10.0.0.0/8',
     '1::2::3', ':::', ':', '1:', ':1', '12345::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::3:4:5:6:7:8:9', '::ffff:192.0.2.1']
  ],
  'Twitch::Network' => [
    ['10.0.0.0/8', '192.0.2.7', '::/0', '2001:db8::/32', '::1/128'],
    ['10.0.0.0/33', '10.0.0.0/08', '::/129', '1::2::3/64', 'any', '10.0.0.0/8 ::/0', "::1\n::2"]
  ],
  'Twitch::Caller' => [
    ['anonymous', 'token:deploy', 'cert:*.example.com'],
    ['from', 'cooldown', 'deploy', 'token:', "token:a\nanonymous", 'cert:a = trigger']
  ],
  'Twitch::Grant' => [
    ['trigger', 'noop', 'tags', 'status', 'logs', 'cancel', 'environment=*', 'environment=test_1'],
    ['run', 'environment', 'environment=', 'environment=a b', "logs\ntrigger"]
  ],
  'Twitch::Token' => [
    [{ 'sha256' => digest }, *%w[2027-12-31 2028-02-29 2000-01-01].map { |day| { 'sha256' => digest, 'expires' => day } }],
    [{}, { 'sha256' => 'secret' }, { 'sha256' => "#{digest}0" },
     *%w[31.12.2027 2027-02-29 2027-02-31 2027-04-31 2027-13-01 2027-00-01 2100-02-29].map do |day|
       { 'sha256' => digest, 'expires' => day }
     end]
  ],
  'Twitch::Tokens' => [
    [{}, { 'a' => { 'sha256' => digest } }, { 'a.b' => [{ 'sha256' => digest }, { 'sha256' => digest, 'expires' => '2027-12-31' }] }],
    [{ 'a' => [] }, { 'a' => [digest] }, { 'a' => [[{ 'sha256' => digest }]] }, { 'a b' => { 'sha256' => digest } }]
  ],
  'Twitch::Account' => [%w[twitch _svc svc-1], ['', '1st', 'a b', '-x', "a\nb", 'a;b', "x'"]],
  'Twitch::Timespan' => [[1, 3600, '3600', '90min', '2h'], [0, -1, '', '0', '1 fortnight', "1h\nUser=root"]],
  'Twitch::Path' => [['/usr/bin/puppet'], ['puppet', "/a\nb", '/a b']],
  'Twitch::PackageSource' => [
    ['/srv/x.deb', 'puppet:///modules/site/x.deb', 'https://example.com/x.rpm'],
    ['x.deb', 'https://example.com/', 'ftp://example.com/x.deb']
  ],
  'Twitch::Config' => [
    [{ 'access' => { 'cooldown' => 5, 'plaintext_tokens' => true }, 'tls' => { 'enabled' => true } }, {},
     { 'puppet' => { 'command' => 'apply', 'manifest' => '/etc/puppet/site.pp' } }, { 'puppet' => { 'command' => 'agent' } },
     { 'disable' => { 'default' => '90m', 'max' => '7d' } },
     *%w[1M 8M 1024M 1G].map { |size| { 'runs' => { 'keep' => 1000, 'size' => size } } }],
    [{ 'acess' => {} }, { 'access' => { 'cooldown' => 'long' } }, { 'access' => { 'token:x' => 'trigger' } },
     { 'access' => { 'from' => '::/0' } }, { 'puppet' => { 'command' => 'apply' } }, { 'puppet' => { 'manifest' => '/site.pp' } },
     { 'puppet' => { 'command' => 'apply', 'manifest' => "/a\n[access]" } },
     *['0h', '1w', 'ever', "1h\n[access]"].map { |time| { 'disable' => { 'max' => time } } },
     { 'runs' => { 'keep' => 0 } }, { 'runs' => { 'keep' => 1001 } },
     *['8', '0M', '1025M', '2G', "8M\n[access]"].map { |size| { 'runs' => { 'size' => size } } }]
  ]
}.each do |type, (valid, invalid)|
  # assert_type needs one catalogue for all values, and allow_value one for each.
  describe 'assert_type' do
    it "accepts valid values of #{type}" do
      valid.each { |value| is_expected.to run.with_params(type, value).and_return(value) }
    end

    it "refuses invalid values of #{type}" do
      refused = Puppet::Pops::Types::TypeAssertionError
      invalid.each { |value| is_expected.to run.with_params(type, value).and_raise_error(refused) }
    end
  end
end
