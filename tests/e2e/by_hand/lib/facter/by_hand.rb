# While there is /root/seen, writes there what the agent's own process has.
Facter.add(:by_hand) do
  setcode do
    if File.directory?('/root/seen')
      system('/root/probe', '/root/seen/agent', Process.pid.to_s)
      File.write('/root/seen/agent/environ', ENV.map { |name, value| "#{name}=#{value}\0" }.join)
    end
    'seen'
  end
end
