# frozen_string_literal: true

describe 'twitch' do
  context 'with ensure => absent' do
    let(:params) { { ensure: 'absent' } }

    it { is_expected.to compile.with_all_deps }

    it 'takes things away in the order in which they depend on each other' do
      %w[puppet-twitch.socket puppet-twitch-run.socket].each do |socket|
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

    it 'leaves no file' do
      %w[/etc/puppet-twitch /var/cache/puppet-twitch /var/lib/puppet-twitch
         /etc/systemd/system/puppet-twitch.socket.d].each do |path|
        is_expected.to contain_file(path).with(ensure: 'absent', force: true)
          .that_comes_before('Exec[twitch: let systemd forget the drop-ins]')
      end
    end
  end

  context 'with the old daemon' do
    let(:params) { { ensure: 'absent', purge_gem: true } }

    it { is_expected.to compile.with_all_deps }
    it { is_expected.to contain_class('twitch::gem').that_comes_before('Class[twitch::remove]') }
  end

  # Puppet has providers that do not know `purged`, and fails the catalog then.
  { 'rpm' => 'absent', 'dnf' => 'purged', 'apt' => 'purged' }.each do |provider, gone|
    context "with #{provider}" do
      let(:params) { { ensure: 'absent', package_provider: provider } }

      it { is_expected.to contain_package('puppet-twitch').with(ensure: gone, provider: provider) }
    end
  end

  # Its units stay, and name the user.
  context 'with the package of somebody else' do
    let(:params) { { ensure: 'absent', manage_package: false } }

    it { is_expected.to have_user_resource_count(0) }
    it { is_expected.to have_group_resource_count(0) }
    it { is_expected.to have_package_resource_count(0) }
    it { is_expected.to contain_service('puppet-twitch.socket').with(ensure: 'stopped', enable: false) }
  end

  context 'with the user of somebody else' do
    let(:params) { { ensure: 'absent', manage_user: false } }

    it { is_expected.to have_user_resource_count(0) }
    it { is_expected.to contain_package('puppet-twitch') }
  end
end
