# While there is /root/seen, writes there what the agent's own process has.
Facter.add(:by_hand) do
  setcode do
    if File.directory?('/root/seen')
      system('/root/probe', '/root/seen/agent', Process.pid.to_s)
      # Ruby blocks all signals around the fork, so the probe would see that.
      File.write('/root/seen/agent/status', File.read('/proc/self/status'))
      File.write('/root/seen/agent/environ', ENV.map { |name, value| "#{name}=#{value}\0" }.join)
    end
    'seen'
  end
end
