"""What is missing or wrong on this machine, in the lab and in its data."""
