"""The files of the live page; see agent/dashboard.py."""
