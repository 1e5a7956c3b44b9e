"""Replaying: a tape as a server."""
