"""Decay, consolidation and the rest of the dream cycle; pure but for the driver."""
