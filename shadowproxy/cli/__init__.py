"""The command line: one file per verb; signals, logging, exit codes, the only `trio.run`."""
