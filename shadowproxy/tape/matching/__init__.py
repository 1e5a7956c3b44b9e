"""Matching: whether two messages are the same but for what may differ, and how they differ."""
