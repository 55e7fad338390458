# frozen_string_literal: true

require 'json'
require 'rspec-puppet'
require 'puppet/indirector/catalog/compiler'

MODULE = File.expand_path('..', __dir__)
METADATA = JSON.parse(File.read(File.join(MODULE, 'metadata.json')))

# The facts that Puppet's own types and providers need, for every system of metadata.json.
SYSTEMS = METADATA['operatingsystem_support'].flat_map do |system|
  name = system['operatingsystem']
  family = %w[Debian Ubuntu].include?(name) ? 'Debian' : 'RedHat'
  system['operatingsystemrelease'].map do |release|
    facts = {
      os: { 'name' => name, 'family' => family, 'release' => { 'full' => release, 'major' => release } },
      operatingsystem: name, osfamily: family, operatingsystemrelease: release,
      operatingsystemmajrelease: release, kernel: 'Linux', service_provider: 'systemd'
    }
    ["#{name} #{release}", facts]
  end
end.to_h

# The script that an exec runs.
def script(name)
  File.read(File.join(MODULE, "files/#{name}.sh"))
end

# The compiler of each catalogue asks Facter for the names and addresses of the server, and Facter starts ip(8)
# for them each time: a quarter of the time of the specs. No spec looks at them.
module ServerFacts
  private

  def set_server_facts
    @server_facts = { 'servername' => 'puppet.example.com', 'serverip' => '192.0.2.1',
                      'serverversion' => Puppet.version.to_s }
  end
end
Puppet::Resource::Catalog::Compiler.prepend(ServerFacts)

RSpec.configure do |config|
  # No other module on the module path, because this one has no dependencies.
  config.module_path = File.dirname(MODULE)
  config.default_facts = SYSTEMS.fetch('Debian 12')
  config.hiera_config = File.join(MODULE, 'spec/fixtures/hiera.yaml')
  config.strict_variables = true
  # Otherwise rspec-puppet links this directory into itself, and runs every example twice.
  config.setup_fixtures = false
end
