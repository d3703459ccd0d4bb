"""Names of the two files of a checkpoint; apart from checkpoint.py, which imports torch."""

WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "checkpoint.json"
