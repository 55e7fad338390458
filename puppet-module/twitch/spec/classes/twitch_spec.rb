# frozen_string_literal: true

describe 'twitch' do
  SYSTEMS.each do |system, facts|
    context "on #{system}" do
      let(:facts) { facts }

      it { is_expected.to compile.with_all_deps }
    end
  end

  context 'with defaults' do
    it 'creates a system user without a shell' do
      is_expected.to contain_group('twitch').with(ensure: 'present', system: true, gid: nil)
      is_expected.to contain_user('twitch').with(
        ensure: 'present', system: true, uid: nil, gid: 'twitch', shell: '/usr/sbin/nologin', managehome: nil
      )
    end

    it 'installs the package with the default provider' do
      is_expected.to contain_package('puppet-twitch').with(ensure: 'installed', source: nil, provider: nil)
      is_expected.not_to contain_file('/var/cache/puppet-twitch')
    end

    it 'manages the sockets and no service' do
      is_expected.to have_service_resource_count(3)
      %w[puppet-twitch.socket puppet-twitch-run.socket puppet-twitch-log.socket].each do |socket|
        is_expected.to contain_service(socket).with(ensure: 'running', enable: true)
      end
    end

    it 'writes no drop-in' do
      %w[puppet-twitch.socket puppet-twitch.service puppet-twitch@.service
         puppet-twitch-run.socket puppet-twitch-run@.service
         puppet-twitch-log.socket puppet-twitch-log@.service].each do |unit|
        is_expected.to contain_file("/etc/systemd/system/#{unit}.d/50-puppet.conf").with_ensure('absent')
        is_expected.not_to contain_file("/etc/systemd/system/#{unit}.d")
      end
    end

    it 'leaves the gem alone' do
      is_expected.not_to contain_class('twitch::gem')
    end

    # Debian's package starts the sockets: by then, addresses and grants have to be configured.
    it 'writes the configuration before it installs the package' do
      is_expected.to contain_user('twitch').that_comes_before('File[/etc/puppet-twitch/tokens]')
      is_expected.to contain_file('/etc/puppet-twitch/puppet-twitch.conf')
        .that_comes_before('Package[puppet-twitch]')
      is_expected.to contain_file('/etc/systemd/system/puppet-twitch.socket.d/50-puppet.conf')
        .that_comes_before('Package[puppet-twitch]')
      is_expected.to contain_package('puppet-twitch').that_comes_before('Service[puppet-twitch.socket]')
    end
  end

  context 'with uid and gid' do
    let(:params) { { uid: 2023, gid: 2024 } }

    it { is_expected.to contain_group('twitch').with_gid(2024) }

    it 'changes the user without a listener first' do
      is_expected.to contain_user('twitch').with_uid(2023)
      is_expected.to contain_exec('twitch: change user and group, without a listener')
        .with(
          command: script('change_user'), provider: 'shell',
          environment: %w[TWITCH_USER=twitch TWITCH_GROUP=twitch TWITCH_UID=2023 TWITCH_GID=2024],
          onlyif: "getent group twitch | grep -qv '^[^:]*:[^:]*:2024:' || " \
                  "getent passwd twitch | grep -qv '^[^:]*:[^:]*:2023:[^:]*:[^:]*:/:'"
        )
        .that_comes_before(['Group[twitch]', 'User[twitch]'])
    end
  end

  context 'without uid and gid' do
    it 'accepts any numbers, and sets none' do
      is_expected.to contain_exec('twitch: change user and group, without a listener').with(
        environment: %w[TWITCH_USER=twitch TWITCH_GROUP=twitch],
        onlyif: "getent group twitch | grep -qv '^[^:]*:[^:]*:[0-9]*:' || " \
                "getent passwd twitch | grep -qv '^[^:]*:[^:]*:[0-9]*:[^:]*:[^:]*:/:'"
      )
    end
  end

  context 'without manage_user' do
    let(:params) { { user: 'svc', group: 'services', manage_user: false } }

    it { is_expected.to have_user_resource_count(0) }
    it { is_expected.to have_group_resource_count(0) }
    it { is_expected.to contain_file('/etc/puppet-twitch/tokens').with(group: 'services', mode: '0640') }
  end

  context 'without manage_package' do
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

  # A file has one version, and Puppet has nothing to compare it with.
  context 'with the latest version of a file' do
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

      it 'fetches the file before it installs the package' do
        is_expected.to contain_file(file).with_source(url).that_comes_before('Package[puppet-twitch]')
        is_expected.to contain_package('puppet-twitch').with_source(file)
      end
    end
  end

  context 'with a package over http' do
    let(:params) { { package_source: 'http://mirror/puppet-twitch.deb' } }

    it { is_expected.to compile.and_raise_error(/http: needs package_sha256/) }

    context 'with package_sha256' do
      let(:params) { super().merge(package_sha256: 'AB' * 32) }

      it 'is fetched, and is refused if it is another file' do
        is_expected.to contain_file('/var/cache/puppet-twitch/puppet-twitch.deb')
          .with(source: 'http://mirror/puppet-twitch.deb', checksum: 'sha256', checksum_value: 'ab' * 32)
      end
    end
  end

  context 'with package_sha256 and a file on the node' do
    let(:params) { { package_source: '/srv/puppet-twitch.deb', package_sha256: 'ab' * 32 } }

    it { is_expected.to compile.and_raise_error(/package_sha256: only for a package_source that is a URL/) }
  end

  context 'with manage_user' do
    let(:params) { { user: 'svc', group: 'services' } }

    it 'refuses an account that can log in before it changes anything' do
      is_expected.to contain_exec('twitch: refuse the account of somebody else').with(
        command: script('refuse_account'), unless: script('refuse_account'), provider: 'shell',
        environment: %w[TWITCH_USER=svc TWITCH_GROUP=services]
      ).that_comes_before(['Exec[twitch: change user and group, without a listener]', 'User[svc]', 'Group[services]'])
    end
  end

  [{ manage_user: false }, { purge_gem: true }].each do |params|
    context "with #{params}" do
      let(:params) { params }

      it { is_expected.not_to contain_exec('twitch: refuse the account of somebody else') }
    end
  end

  context 'with purge_gem' do
    let(:params) { { purge_gem: true } }

    it 'removes the gem before it changes the user' do
      is_expected.to contain_file('/etc/sudoers.d/twitch').with_ensure('absent')
      is_expected.to contain_class('twitch::gem').that_comes_before('Class[twitch::user]')
    end
  end
end
