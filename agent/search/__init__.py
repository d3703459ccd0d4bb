"""Proposals without a language model: the space of hyperparameters and the search over it."""
