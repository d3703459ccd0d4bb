"""Measurements: retrieval quality and latency."""
