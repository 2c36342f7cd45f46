"""What one would otherwise do, from the same start and by the same judges."""
