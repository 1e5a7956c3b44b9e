"""The protocols as pure code: bytes in, values out. Nothing here knows sockets, tasks or time."""
