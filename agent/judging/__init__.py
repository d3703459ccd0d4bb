"""Noise, evidence, verdicts, and the simulation that checks them."""
