"""Tests of a running source: those of SP 800-90B section 4.4, and one for each known fault of a receiver."""
