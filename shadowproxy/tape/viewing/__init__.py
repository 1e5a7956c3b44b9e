"""Viewing: frames with what is known of their exchange; filters; figures."""
