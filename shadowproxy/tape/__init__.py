"""Tapes: faithful recordings of conversations, and what is done with them."""
