"""Recording: exchanges -> frames -> files."""
