Puppet::Type.type(:by_hand_line).provide(:ruby) do
  LINES = '/root/lines'.freeze

  def self.lines
    File.exist?(LINES) ? File.readlines(LINES, chomp: true) : []
  end

  def self.instances
    lines.map { |line| new(name: line, ensure: :present) }
  end

  def exists?
    self.class.lines.include?(resource[:name])
  end

  def create
    File.write(LINES, "#{resource[:name]}\n", mode: 'a')
  end

  def destroy
    File.write(LINES, (self.class.lines - [resource[:name]]).map { |line| "#{line}\n" }.join)
  end
end
