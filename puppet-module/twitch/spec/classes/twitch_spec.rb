# frozen_string_literal: true

describe 'twitch' do
  SYSTEMS.each do |system, facts|
    context "on #{system}" do
      let(:facts) { facts }

      it { is_expected.to compile.with_all_deps }
    end
  end

  context 'with defaults' do
    it 'has a system user without a shell' do
      is_expected.to contain_group('twitch').with(ensure: 'present', system: true, gid: nil)
      is_expected.to contain_user('twitch').with(
        ensure: 'present', system: true, uid: nil, gid: 'twitch', shell: '/usr/sbin/nologin', managehome: nil
      )
    end

    it 'installs the package in the usual way' do
      is_expected.to contain_package('puppet-twitch').with(ensure: 'installed', source: nil, provider: nil)
      is_expected.not_to contain_file('/var/cache/puppet-twitch')
    end

    it 'starts the sockets and no service' do
      is_expected.to have_service_resource_count(2)
      %w[puppet-twitch.socket puppet-twitch-run.socket].each do |socket|
        is_expected.to contain_service(socket).with(ensure: 'running', enable: true)
      end
    end

    it 'leaves the units as the package has them' do
      %w[puppet-twitch.socket puppet-twitch.service puppet-twitch@.service
         puppet-twitch-run.socket puppet-twitch-run@.service].each do |unit|
        is_expected.to contain_file("/etc/systemd/system/#{unit}.d/50-puppet.conf").with_ensure('absent')
        is_expected.not_to contain_file("/etc/systemd/system/#{unit}.d")
      end
    end

    it 'leaves the old daemon alone' do
      is_expected.not_to contain_class('twitch::gem')
    end

    # Debian's package starts the sockets: not before it is written who may ask, and where.
    it 'writes the configuration before it installs' do
      is_expected.to contain_user('twitch').that_comes_before('File[/etc/puppet-twitch/tokens]')
      is_expected.to contain_file('/etc/puppet-twitch/puppet-twitch.conf')
        .that_comes_before('Package[puppet-twitch]')
      is_expected.to contain_file('/etc/systemd/system/puppet-twitch.socket.d/50-puppet.conf')
        .that_comes_before('Package[puppet-twitch]')
      is_expected.to contain_package('puppet-twitch').that_comes_before('Service[puppet-twitch.socket]')
    end
  end

  context 'with numbers for user and group' do
    let(:params) { { uid: 2023, gid: 2024 } }

    it { is_expected.to contain_group('twitch').with_gid(2024) }

    it 'has no listener while the user changes' do
      is_expected.to contain_user('twitch').with_uid(2023)
      is_expected.to contain_exec('twitch: change user and group, without a listener')
        .with_command(%r{ groupmod --gid 2024 twitch; .* usermod --uid 2023 --home / twitch; })
        .that_comes_before(['Group[twitch]', 'User[twitch]'])
    end
  end

  context 'with the user of somebody else' do
    let(:params) { { user: 'svc', group: 'services', manage_user: false } }

    it { is_expected.to have_user_resource_count(0) }
    it { is_expected.to have_group_resource_count(0) }
    it { is_expected.to contain_file('/etc/puppet-twitch/tokens').with(group: 'services', mode: '0640') }
  end

  context 'without the package' do
    let(:params) { { manage_package: false } }

    it { is_expected.to have_package_resource_count(0) }
    it { is_expected.to contain_service('puppet-twitch.socket') }
  end

  context 'with a package file on the node' do
    let(:params) { { package_source: '/srv/puppet-twitch.deb', package_ensure: '1.0.1', package_provider: 'apt' } }

    it 'installs that file' do
      is_expected.to contain_package('puppet-twitch')
        .with(ensure: '1.0.1', source: '/srv/puppet-twitch.deb', provider: 'apt')
      is_expected.not_to contain_file('/var/cache/puppet-twitch')
    end
  end

  # A file has one version, and Puppet would compare it with nothing.
  context 'with the latest of a file' do
    let(:params) { { package_source: '/srv/puppet-twitch.deb', package_ensure: 'latest' } }

    it { is_expected.to compile.and_raise_error(/package_ensure: latest does not go with package_source/) }
  end

  %w[absent purged held].each do |word|
    context "with package_ensure => #{word}" do
      let(:params) { { package_ensure: word } }

      it { is_expected.to compile.and_raise_error(/parameter 'package_ensure'/) }
    end
  end

  {
    'puppet:///modules/site/puppet-twitch_1.0.1_all.deb' => '/var/cache/puppet-twitch/puppet-twitch.deb',
    'https://example.com/puppet-twitch-1.0.1-1.noarch.rpm' => '/var/cache/puppet-twitch/puppet-twitch.rpm'
  }.each do |url, file|
    context "with a package from #{url}" do
      let(:params) { { package_source: url } }

      it 'fetches it first' do
        is_expected.to contain_file(file).with_source(url).that_comes_before('Package[puppet-twitch]')
        is_expected.to contain_package('puppet-twitch').with_source(file)
      end
    end
  end

  context 'with purge_gem' do
    let(:params) { { purge_gem: true } }

    it 'ends the old daemon before it touches its user' do
      is_expected.to contain_file('/etc/sudoers.d/twitch').with_ensure('absent')
      is_expected.to contain_class('twitch::gem').that_comes_before('Class[twitch::user]')
    end
  end
end
