"""Measurements: variants of train.py in pairs, the Weber bracket, the evaluator, the daemon."""
