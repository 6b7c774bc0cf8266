"""The vocabulary of measuring: a device, how it was measured on, every raw latency, and a verdict."""
