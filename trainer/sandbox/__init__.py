"""Keeping a candidate apart: what it may read and write, how much it may use, and how it ends."""
