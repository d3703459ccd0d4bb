"""Corpora, tokenizer and packed rows: everything that happens before a candidate may train."""
