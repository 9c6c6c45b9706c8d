"""What happened, and where it is kept."""
