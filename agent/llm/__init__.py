"""Proposals by a language model: brief, conversation, metering."""
