# frozen_string_literal: true

digest = 'a' * 64
{
  'Twitch::Address' => [
    ['192.0.2.1', '0.0.0.0', '::', '::1', '2001:db8::a', '::ffff:192.0.2.1'],
    ['', '256.0.0.1', '192.0.2', '192.0.2.1:80', '[::1]', 'node', "::1\nAccept=yes", '10.0.0.0/8']
  ],
  'Twitch::Network' => [
    ['10.0.0.0/8', '192.0.2.7', '::/0', '2001:db8::/32', '::1/128'],
    ['10.0.0.0/33', '::/129', 'any', '10.0.0.0/8 ::/0', "::1\n::2"]
  ],
  'Twitch::Caller' => [
    ['anonymous', 'token:deploy', 'cert:*.example.com'],
    ['from', 'cooldown', 'deploy', 'token:', "token:a\nanonymous", 'cert:a = trigger']
  ],
  'Twitch::Grant' => [
    ['trigger', 'noop', 'tags', 'status', 'logs', 'environment=*', 'environment=test_1'],
    ['run', 'environment', 'environment=', 'environment=a b', "logs\ntrigger"]
  ],
  'Twitch::Token' => [
    [{ 'sha256' => digest }, { 'sha256' => digest, 'expires' => '2027-12-31' }],
    [{}, { 'sha256' => 'secret' }, { 'sha256' => "#{digest}0" }, { 'sha256' => digest, 'expires' => '31.12.2027' }]
  ],
  'Twitch::Timespan' => [[1, 3600, '3600', '90min', '2h'], [0, -1, '', '0', '1 fortnight', "1h\nUser=root"]],
  'Twitch::Path' => [['/usr/bin/puppet'], ['puppet', "/a\nb", '/a b']],
  'Twitch::PackageSource' => [
    ['/srv/x.deb', 'puppet:///modules/site/x.deb', 'https://example.com/x.rpm'],
    ['x.deb', 'https://example.com/', 'ftp://example.com/x.deb']
  ],
  'Twitch::Config' => [
    [{ 'access' => { 'cooldown' => 5, 'plaintext_tokens' => true, 'token:x' => 'trigger' } }, {}],
    [{ 'access' => { "a\nb" => 1 } }, { 'access' => { 'a' => "x\n[puppet]" } }, { 'a]' => {} }, { 'access' => { 'from' => ['::'] } }]
  ]
}.each do |type, (good, bad)|
  describe type do
    it { is_expected.to allow_values(*good) }

    # Each on its own: negated, allow_values is content if one of them is refused.
    bad.each { |value| it { is_expected.not_to allow_value(value) } }
  end
end
