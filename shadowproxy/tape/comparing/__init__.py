"""Comparing: two tapes, or the server that two of them show."""
