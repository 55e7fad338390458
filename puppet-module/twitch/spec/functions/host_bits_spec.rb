# frozen_string_literal: true

describe 'twitch::host_bits' do
  %w[10.0.0.1 10.0.0.1/32 10.0.0.0/8 0.0.0.0/0 ::1 ::1/128 ::/0 2001:db8::/32 2001:db8:8000::/33
     1:2:3:4:5:6:7:8/125].each do |network|
    it { is_expected.to run.with_params(network).and_return(false) }
  end

  %w[10.0.0.1/8 10.0.0.1/31 0.0.0.1/0 255.255.255.255/31 ::1/127 ::1/0 2001:db8:8000::/32
     1:2:3:4:5:6:7:8/124].each do |network|
    it { is_expected.to run.with_params(network).and_return(true) }
  end

  it { is_expected.to run.with_params('10.0.0.0/33').and_raise_error(ArgumentError, /Twitch::Network/) }
end
