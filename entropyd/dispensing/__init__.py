"""Bytes for whoever asks: of the full pool, SP 800-90A's generator or the system, and labelled as such."""
