"""The side that faces servers: child processes and HTTP connections, pooled, restarted, never handed out dead."""
