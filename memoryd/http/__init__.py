"""ferricula's HTTP API, to the character."""
