# frozen_string_literal: true

describe 'twitch' do
  def drop_in(unit)
    "/etc/systemd/system/#{unit}.d/50-puppet.conf"
  end

  def settings(section, *lines)
    "# Written by Puppet, module twitch. Your own changes: systemctl edit.\n[#{section}]\n#{lines.join("\n")}\n"
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

      it 'restarts the socket, after systemd has read it' do
        is_expected.to contain_file(drop_in('puppet-twitch.socket'))
          .with_content(settings('Socket', *lines))
          .that_notifies('Exec[twitch: daemon-reload]')
          .that_notifies('Service[puppet-twitch.socket]')
        is_expected.to contain_exec('twitch: daemon-reload').that_comes_before('Service[puppet-twitch.socket]')
      end
    end
  end

  context 'with run_timeout' do
    let(:params) { { run_timeout: '90min' } }

    it 'restarts nothing' do
      is_expected.to contain_file(drop_in('puppet-twitch-run@.service'))
        .with_content(settings('Service', 'RuntimeMaxSec=90min'))
        .that_notifies('Exec[twitch: daemon-reload]')
      %w[puppet-twitch puppet-twitch-run].each do |socket|
        is_expected.not_to contain_file(drop_in('puppet-twitch-run@.service')).that_notifies("Service[#{socket}.socket]")
      end
    end
  end

  context 'with tls' do
    let(:params) { { tls: { 'cert' => '/c', 'key' => '/k', 'ca' => '/a', 'crl' => '/r', 'client' => 'required' } } }

    it 'hands the files to both shapes of the listener' do
      %w[puppet-twitch.service puppet-twitch@.service].each do |unit|
        is_expected.to contain_file(drop_in(unit)).with_content(
          settings('Service', *%w[cert:/c key:/k ca:/a crl:/r].map { |one| "LoadCredential=#{one}" })
        )
      end
      is_expected.to contain_file(drop_in('puppet-twitch.service')).that_notifies('Service[puppet-twitch.socket]')
    end
  end

  context 'with another user' do
    let(:params) { { user: 'svc', group: 'services' } }

    it 'gives the listener that user, and the run socket to its group' do
      is_expected.to contain_file(drop_in('puppet-twitch.service'))
        .with_content(settings('Service', 'User=svc', 'Group=services'))
      is_expected.to contain_file(drop_in('puppet-twitch-run.socket'))
        .with_content(settings('Socket', 'SocketGroup=services'))
        .that_notifies('Service[puppet-twitch-run.socket]')
    end
  end
end
