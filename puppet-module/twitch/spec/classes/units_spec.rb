# frozen_string_literal: true

require 'digest'

describe 'twitch' do
  def drop_in(unit)
    "/etc/systemd/system/#{unit}.d/50-puppet.conf"
  end

  def settings(section, *lines)
    "# Written by Puppet, module twitch. Your own changes: systemctl edit.\n[#{section}]\n#{lines.join("\n")}\n"
  end

  # It depends on the recorded settings, not on a notification, which would be lost in a run that fails.
  let(:restart) { 'twitch: start the socket with its settings' }

  def digest(*lines)
    Digest::SHA256.hexdigest(lines.join("\n"))
  end

  def unless_recorded(*lines)
    "grep -qx #{digest(*lines)} /var/lib/puppet-twitch/socket"
  end

  {
    { port: 8023 } =>
      ['ListenStream=', 'ListenStream=8023'],
    { listen_addresses: '192.0.2.1' } =>
      ['ListenStream=', 'ListenStream=192.0.2.1:2023', 'FreeBind=yes', 'BindIPv6Only=ipv6-only'],
    { listen_addresses: ['0.0.0.0', '::'], port: 80 } =>
      ['ListenStream=', 'ListenStream=0.0.0.0:80', 'ListenStream=[::]:80', 'FreeBind=yes', 'BindIPv6Only=ipv6-only'],
    { per_connection: true } =>
      ['Accept=yes', 'MaxConnections=64', 'MaxConnectionsPerSource=16'],
    { allowed_addresses: ['10.0.0.0/8', '::1'] } =>
      ['IPAddressDeny=any', 'IPAddressAllow=10.0.0.0/8', 'IPAddressAllow=::1']
  }.each do |params, lines|
    context "with #{params}" do
      let(:params) { params }

      it 'writes the drop-in, and restarts the socket if its settings differ' do
        is_expected.to contain_file(drop_in('puppet-twitch.socket'))
          .with_content(settings('Socket', *lines))
          .that_comes_before("Exec[#{restart}]")
        is_expected.to contain_exec(restart).with(
          command: script('restart_socket'), provider: 'shell', unless: unless_recorded(*lines),
          environment: ["TWITCH_SETTINGS=#{digest(*lines)}", 'TWITCH_STATE_DIRECTORY=/var/lib/puppet-twitch']
        )
      end
    end
  end

  context 'with run_timeout' do
    let(:params) { { run_timeout: '90min' } }

    it 'does not restart the socket' do
      is_expected.to contain_file(drop_in('puppet-twitch-run@.service'))
        .with_content(settings('Service', 'RuntimeMaxSec=90min'))
      is_expected.to contain_exec(restart).with_unless(unless_recorded)
    end
  end

  context 'with tls' do
    let(:params) { { tls: { 'cert' => '/c', 'key' => '/k', 'ca' => '/a', 'crl' => '/r', 'client' => 'required' } } }

    it 'gives certificate and key to both units of the listener, after the drop-in of LXC' do
      %w[puppet-twitch.service puppet-twitch@.service].each do |unit|
        is_expected.to contain_file("/etc/systemd/system/#{unit}.d/zzz-puppet-tls.conf").with_content(
          settings('Service', 'LoadCredential=cert:/c', 'LoadCredential=key:/k')
        )
        is_expected.to contain_file(drop_in(unit)).with_ensure('absent')
      end
      expect('zzz-puppet-tls.conf').to be > 'zzz-lxc-service.conf'
    end

    it 'stops the listener if the files differ, and leaves the socket alone' do
      lines = %w[cert:/c key:/k].map { |credential| "LoadCredential=#{credential}" }
      is_expected.to contain_exec('twitch: let the listener start with its settings').with(
        command: script('stop_listener'), provider: 'shell',
        unless: "grep -qx #{digest(*lines)} /var/lib/puppet-twitch/listener",
        environment: ["TWITCH_SETTINGS=#{digest(*lines)}", 'TWITCH_STATE_DIRECTORY=/var/lib/puppet-twitch']
      )
      is_expected.to contain_exec(restart).with_unless(unless_recorded)
    end
  end

  context 'with run_settings' do
    let(:params) do
      { run_settings: { 'Environment' => ['http_proxy=http://proxy:3128', 'no_proxy=.example'], 'Nice' => 5 } }
    end

    it 'gives them to the runs' do
      is_expected.to contain_file(drop_in('puppet-twitch-run@.service')).with_content(
        settings('Service', 'Environment=http_proxy=http://proxy:3128', 'Environment=no_proxy=.example', 'Nice=5')
      )
    end
  end

  [{ 'ExecStart' => '/x' }, { 'RuntimeMaxSec' => 5 }, { 'User' => 'x' }, { 'nice' => 5 }, { 'Nice' => "5\nUser=x" }]
    .each do |settings|
    context "with run_settings #{settings}" do
      let(:params) { { run_settings: settings } }

      it { is_expected.to compile.and_raise_error(/run_settings/) }
    end
  end

  context "with files of Debian's Puppet" do
    let(:params) do
      ssl = '/var/lib/puppet/ssl'
      { tls: { 'cert' => '/c', 'key' => '/k', 'ca' => "#{ssl}/certs/ca.pem", 'crl' => "#{ssl}/crl.pem" } }
    end

    it 'lets the listener read them' do
      is_expected.to contain_file('/etc/systemd/system/puppet-twitch.service.d/zzz-puppet-tls.conf').with_content(
        settings('Service', 'LoadCredential=cert:/c', 'LoadCredential=key:/k',
                 'TemporaryFileSystem=/var/lib/puppet:ro', 'BindReadOnlyPaths=/var/lib/puppet/ssl')
      )
    end
  end

  context 'with another user' do
    let(:params) { { user: 'svc', group: 'services' } }

    it 'runs the listener as that user, and gives the run socket to the group' do
      is_expected.to contain_file(drop_in('puppet-twitch.service'))
        .with_content(settings('Service', 'User=svc', 'Group=services'))
      %w[puppet-twitch-run.socket puppet-twitch-log.socket].each do |socket|
        is_expected.to contain_file(drop_in(socket)).with_content(settings('Socket', 'SocketGroup=services'))
      end
      is_expected.to contain_file(drop_in('puppet-twitch-log@.service')).with_content(
        settings('Service', 'Environment=PUPPET_TWITCH_USER=svc PUPPET_TWITCH_GROUP=services')
      )
      is_expected.to contain_exec('twitch: give the run socket to its group').with(
        command: script('change_run_group'), environment: ['TWITCH_GROUP=services'], provider: 'shell',
        onlyif: 'stat --format=%G /run/puppet-twitch/run.sock /run/puppet-twitch/log.sock | grep -qvx services'
      )
    end
  end

  # For example systemd::dropin_file.
  context 'with another module that declares the directory of drop-ins' do
    let(:params) { { port: 8023 } }
    let(:pre_condition) do
      "file { '/etc/systemd/system/puppet-twitch.socket.d': ensure => directory, recurse => true, purge => true }"
    end

    it { is_expected.to compile.with_all_deps }
  end

  context 'with the watch' do
    let(:params) { { watch: true, watch_textfile: '/srv/textfiles/puppet.prom', watch_directories: ['/srv/state'] } }

    it 'enables it, with the locks and the textfile of the site' do
      is_expected.to contain_service('puppet-twitch-watch.path').with(ensure: 'running', enable: true)
      is_expected.to contain_file(drop_in('puppet-twitch-watch.path')).with_content(
        settings('Path', 'PathChanged=/srv/state/agent_catalog_run.lock', 'PathChanged=/srv/state/agent_disabled.lock')
      )
      is_expected.to contain_file(drop_in('puppet-twitch-watch.service')).with_content(
        settings('Service', 'Environment=PUPPET_TWITCH_TEXTFILE=/srv/textfiles/puppet.prom',
                 'ReadWritePaths=/srv/textfiles')
      )
    end
  end

  it 'does not enable the watch unless it is asked to' do
    is_expected.not_to contain_service('puppet-twitch-watch.path')
    is_expected.to contain_exec('twitch: stop the watch')
    is_expected.to contain_file(drop_in('puppet-twitch-watch.path')).with_ensure('absent')
  end
end
