"""Exchanging: tapes to and from other programs."""
