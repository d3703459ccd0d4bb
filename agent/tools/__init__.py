"""The ten tools: for a person or a coding agent by hand, and for language models in the loop."""
