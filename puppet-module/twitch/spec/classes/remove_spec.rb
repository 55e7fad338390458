# frozen_string_literal: true

describe 'twitch' do
  context 'with ensure => absent' do
    let(:params) { { ensure: 'absent' } }

    it { is_expected.to compile.with_all_deps }

    it 'removes sockets, listeners, package, user and group in this order' do
      %w[puppet-twitch.socket puppet-twitch-run.socket puppet-twitch-log.socket].each do |socket|
        is_expected.to contain_service(socket)
          .with(ensure: 'stopped', enable: false)
          .that_comes_before('Exec[twitch: stop the listeners]')
      end
      is_expected.to contain_package('puppet-twitch')
        .with_ensure('purged')
        .that_requires('Exec[twitch: stop the listeners]')
        .that_comes_before('User[twitch]')
      is_expected.to contain_user('twitch').with_ensure('absent').that_comes_before('Group[twitch]')
      is_expected.to contain_group('twitch').with_ensure('absent')
    end

    it 'removes every file' do
      %w[/etc/puppet-twitch /var/cache/puppet-twitch /var/lib/puppet-twitch
         /etc/systemd/system/puppet-twitch.socket.d].each do |path|
        is_expected.to contain_file(path).with(ensure: 'absent', force: true)
          .that_comes_before('Exec[twitch: let systemd forget the drop-ins]')
      end
    end
  end

  context 'with purge_gem' do
    let(:params) { { ensure: 'absent', purge_gem: true } }

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_class('twitch::gem').that_comes_before('Class[twitch::remove]') }
  end

  # With `purged`, the catalog would fail for a provider that does not know it.
  { 'rpm' => 'absent', 'dnf' => 'purged', 'apt' => 'purged' }.each do |provider, removed|
    context "with package_provider => #{provider}" do
      let(:params) { { ensure: 'absent', package_provider: provider } }

      it { is_expected.to contain_package('puppet-twitch').with(ensure: removed, provider: provider) }
    end
  end

  # The units stay, and name the user.
  context 'without manage_package' do
    let(:params) { { ensure: 'absent', manage_package: false } }

    it { is_expected.to have_user_resource_count(0) }
    it { is_expected.to have_group_resource_count(0) }
    it { is_expected.to have_package_resource_count(0) }
    it { is_expected.to contain_service('puppet-twitch.socket').with(ensure: 'stopped', enable: false) }
  end

  context 'without manage_user' do
    let(:params) { { ensure: 'absent', manage_user: false } }

    it { is_expected.to have_user_resource_count(0) }
    it { is_expected.to contain_package('puppet-twitch') }
  end
end
