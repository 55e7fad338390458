"""The puppetservers: their queues, as a throttle, and their capacity, as a forecast."""
