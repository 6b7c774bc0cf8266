"""The ways to a device: this machine, ssh, and a transcript of either."""
