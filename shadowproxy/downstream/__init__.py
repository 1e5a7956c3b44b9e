"""The side that faces clients: listeners, the HTTP server, the MCP endpoint, stdio."""
