"""`python -m shadowproxy`: the command line."""
from __future__ import annotations

from shadowproxy.cli.main import main

if __name__ == "__main__":
    main()
