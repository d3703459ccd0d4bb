"""The fixed part that a candidate imports: run description, data, budget, events, checkpoint, attention.

Submodules are imported by name; this file stays empty of them so that the daemon can read a RunSpec
without torch.
"""
