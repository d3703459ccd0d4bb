"""The lab's folder: its git repository, lock, tables and champion."""
