"""Verifying: a tape as a client, and what a live server answers it."""
