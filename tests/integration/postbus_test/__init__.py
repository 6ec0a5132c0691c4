"""What the integration tests share: a small NATS client, and a whole site of real processes."""
