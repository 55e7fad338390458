# frozen_string_literal: true

require 'digest'

describe 'twitch' do
  def drop_in(unit)
    "/etc/systemd/system/#{unit}.d/50-puppet.conf"
  end

  def settings(section, *lines)
    "# Written by Puppet, module twitch. Your own changes: systemctl edit.\n[#{section}]\n#{lines.join("\n")}\n"
  end

  # Not a notification, which would be lost with the run that gave it.
  let(:start) { 'twitch: start the socket with its settings' }

  def unless_started_with(*lines)
    /\Agrep -qx #{Digest::SHA256.hexdigest(lines.join("\n"))} /
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

      it 'starts the socket with them' do
        is_expected.to contain_file(drop_in('puppet-twitch.socket'))
          .with_content(settings('Socket', *lines))
          .that_comes_before("Exec[#{start}]")
        is_expected.to contain_exec(start).with_unless(unless_started_with(*lines))
      end
    end
  end

  context 'with run_timeout' do
    let(:params) { { run_timeout: '90min' } }

    it 'restarts nothing' do
      is_expected.to contain_file(drop_in('puppet-twitch-run@.service'))
        .with_content(settings('Service', 'RuntimeMaxSec=90min'))
      is_expected.to contain_exec(start).with_unless(unless_started_with)
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
      is_expected.not_to contain_exec(start).with_unless(unless_started_with)
    end
  end

  context 'with another user' do
    let(:params) { { user: 'svc', group: 'services' } }

    it 'gives the listener that user, and the run socket to its group' do
      is_expected.to contain_file(drop_in('puppet-twitch.service'))
        .with_content(settings('Service', 'User=svc', 'Group=services'))
      is_expected.to contain_file(drop_in('puppet-twitch-run.socket'))
        .with_content(settings('Socket', 'SocketGroup=services'))
      is_expected.to contain_exec('twitch: give the run socket to its group').with_onlyif(/ -qvx services\z/)
    end
  end

  # As systemd::dropin_file does, say.
  context 'with a directory of drop-ins that somebody else has' do
    let(:params) { { port: 8023 } }
    let(:pre_condition) do
      "file { '/etc/systemd/system/puppet-twitch.socket.d': ensure => directory, recurse => true, purge => true }"
    end

    it { is_expected.to compile.with_all_deps }
  end
end
