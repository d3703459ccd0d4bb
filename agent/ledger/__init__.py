"""The truth of a lab: sessions, proposals, runs and events in SQLite, written before they happen."""
