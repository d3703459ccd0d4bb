"""A remote ferricula, or another memoryd, as the store."""
