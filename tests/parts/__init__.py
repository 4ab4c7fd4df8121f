"""What Mailfleet is tested with: real servers on loopback, each in a folder of its own, stopped by process id."""
