"""One experiment from its source to its score: processes, their words, files, rules and checkpoint."""
