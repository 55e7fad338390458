# frozen_string_literal: true

describe 'twitch' do
  let(:conf) { '/etc/puppet-twitch/puppet-twitch.conf' }
  let(:tokens) { '/etc/puppet-twitch/tokens' }
  let(:header) { "# Written by Puppet, module twitch. See puppet-twitch.conf(5).\n" }
  let(:digest) { 'c0067d4af4e87f00dbac63b6156828237059172d1bbeac67427345d6a9fda484' }

  context 'with defaults' do
    it { is_expected.to contain_file(conf).with_content(header) }
    it { is_expected.to contain_file(tokens).with(content: header, show_diff: false) }
  end

  context 'with all settings' do
    let(:params) do
      {
        allowed_addresses: ['10.0.0.0/8', '2001:db8::1'],
        puppet_path: '/opt/puppet',
        access: { 'anonymous' => [], 'token:deploy' => ['trigger', 'environment=test_*'] },
        tokens: { 'deploy' => { 'sha256' => digest.upcase, 'expires' => '2027-12-31' }, 'ci' => { 'sha256' => digest } },
        tls: { 'cert' => '/c', 'key' => '/k', 'ca' => '/a', 'crl' => '/r', 'client' => 'required',
               'revocation' => 'leaf' },
        config: { 'access' => { 'cooldown' => 0, 'plaintext_tokens' => true }, 'runs' => { 'keep' => 9, 'size' => '1M' },
                  'disable' => { 'default' => '2h', 'max' => '7d' } },
      }
    end

    it 'writes every setting once, in its section' do
      is_expected.to contain_file(conf).with_content(<<~CONF)
        #{header}
        [access]
        from = 10.0.0.0/8 2001:db8::1
        anonymous =#{' '}
        token:deploy = trigger environment=test_*
        cooldown = 0
        plaintext_tokens = yes

        [tls]
        enabled = yes
        ca = /a
        crl = /r
        client = required
        revocation = leaf

        [puppet]
        path = /opt/puppet

        [runs]
        keep = 9
        size = 1M

        [disable]
        default = 2h
        max = 7d
      CONF
      is_expected.to contain_file(tokens).with_content("#{header}deploy #{digest} 2027-12-31\nci #{digest}\n")
    end
  end

  context 'with a key in config that has a parameter' do
    let(:params) do
      { tls: { 'cert' => '/c', 'key' => '/k', 'ca' => '/a', 'crl' => '/r' }, config: { 'tls' => { 'enabled' => false } } }
    end

    it { is_expected.to compile.and_raise_error(/\[tls\] enabled: given by a parameter of its own/) }
  end

  # The node would refuse the file, and answer 503 to every request.
  context 'with networks that have host bits' do
    let(:params) { { allowed_addresses: ['10.0.0.1', '10.0.0.1/8', '2001:db8::/32', '2001:db8:8000::/32'] } }

    it { is_expected.to compile.and_raise_error(%r{allowed_addresses: 10\.0\.0\.1/8, 2001:db8:8000::/32: bits beyond}) }
  end

  context 'with IPv4 networks that are written as IPv6' do
    let(:params) { { allowed_addresses: ['::FFFF:a00:0/104', '0:0:0:0:0:ffff:c000:201', '::ffff:0:0:0/96', '::/0'] } }

    it { is_expected.to compile.and_raise_error(/: ::FFFF:a00:0\/104, 0:0:0:0:0:ffff:c000:201: IPv4 written as IPv6/) }
  end

  # A level nearer to the node can take away the grants of a higher level.
  context 'with Hiera levels' do
    let(:facts) { { level: 'site' } }

    it 'merges access by caller, and tokens and config deeply' do
      is_expected.to contain_file(conf).with_content(<<~CONF)
        #{header}
        [access]
        anonymous = status
        token:deploy = trigger status logs
        cert:puppet.example.com = noop
        cooldown = 30

        [puppet]
        command = apply
        manifest = /etc/puppet/site.pp
      CONF
      is_expected.to contain_file(tokens).with_content("#{header}deploy #{digest} 2027-12-31\n")
    end
  end

  context 'with two tokens of one name' do
    let(:params) do
      { tokens: { 'deploy' => [{ 'sha256' => digest, 'expires' => '2027-01-31' }, { 'sha256' => 'ab' * 32 }],
                  'ci' => { 'sha256' => digest } } }
    end

    it 'writes a line for each, so that both work while one replaces the other' do
      is_expected.to contain_file(tokens).with_content(
        "#{header}deploy #{digest} 2027-01-31\ndeploy #{'ab' * 32}\nci #{digest}\n"
      )
    end
  end

  # Lines that never apply: the node's own check calls each a fault.
  context 'with grants of callers that cannot be' do
    let(:warnings) do
      logged = []
      Puppet::Util::Log.newdestination(Puppet::Test::LogCollector.new(logged))
      logged.clear # what Puppet has kept for the first destination
      catalogue
      logged.select { |entry| entry.level == :warning }.map(&:message)
    end

    [
      [{ access: { 'cert:*.example.com' => ['noop'] } }, ['cert:*.example.com never applies, because client certificates']],
      [{ access: { 'token:deplyo' => ['trigger'] } }, ['token:deplyo never applies, because twitch::tokens has no such']],
      [{ access: { 'token:d*' => ['trigger'], 'token:*.y' => ['trigger'] } }, ['token:*.y never applies']],
      [{ access: { 'token:d*y' => ['trigger'], 'token:deploy' => ['status'] } }, []],
      [{ access: { 'token:other' => [], 'cert:a' => [] } }, []],
      [{ access: { 'cert:a' => ['noop'] }, config: { 'tls' => { 'enabled' => true } } }, []],
      [{ access: { 'cert:a' => ['noop'] }, tls: { 'cert' => '/c', 'key' => '/k', 'ca' => '/a', 'crl' => '/r' } }, []]
    ].each do |settings, expected|
      context "with #{settings}" do
        let(:params) { { tokens: { 'deploy' => { 'sha256' => digest } } }.merge(settings) }

        it 'warns at compile time' do
          expect(warnings.length).to eq(expected.length), warnings.inspect
          warnings.zip(expected) { |warning, text| expect(warning).to include(text) }
        end
      end
    end
  end
end
