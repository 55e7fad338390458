# frozen_string_literal: true

require 'yaml'

# Every example of the README for Hiera has to compile. The one of Bolt's inventory begins with its name.
describe 'twitch' do
  readme = File.read(File.join(MODULE, 'README.md'))
  readme.scan(/^```yaml\n(?!# inventory)(.*?)^```/m).flatten.each do |example|
    context "with\n#{example}" do
      let(:params) do
        params = YAML.safe_load(example).transform_keys { |name| name.delete_prefix('twitch::').to_sym }
        # The example that revokes a token leaves the digest to another level of Hiera.
        params[:tokens]&.each_value { |token| token['sha256'] ||= '0' * 64 if token.is_a?(Hash) }
        params
      end

      it { is_expected.to compile.with_all_deps }
    end
  end
end
