"""What it takes to bring the behaviour back."""
