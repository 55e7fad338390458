# frozen_string_literal: true

require 'yaml'

# What people copy has to compile.
describe 'twitch' do
  readme = File.read(File.join(MODULE, 'README.md'))
  readme.scan(/^```yaml\n(.*?)^```/m).flatten.each do |example|
    context "with\n#{example}" do
      let(:params) do
        given = YAML.safe_load(example).transform_keys { |name| name.delete_prefix('twitch::').to_sym }
        # Said on another level, in the example that drops a token.
        given[:tokens]&.each_value { |token| token['sha256'] ||= '0' * 64 }
        given
      end

      it { is_expected.to compile.with_all_deps }
    end
  end
end
