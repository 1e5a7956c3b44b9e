"""The project's MCP fixture server, with everything the conformance suite's server scenarios look for.

    python tests/conformance/fixture_server.py --stdio
    python tests/conformance/fixture_server.py --http PORT

Both serve the same handlers, 2026-07-28 and the eras before it; HTTP answers at http://localhost:PORT/mcp.
"""

import argparse

from fixture.build import run_http, run_stdio


def main() -> None:
    """Read the command line and serve until the input ends or the process is told to stop."""
    parser = argparse.ArgumentParser(description="MCP fixture server")
    transport = parser.add_mutually_exclusive_group(required=True)
    transport.add_argument("--stdio", action="store_true", help="serve one client over stdin and stdout")
    transport.add_argument("--http", type=int, metavar="PORT", help="serve HTTP on 127.0.0.1:PORT")
    options = parser.parse_args()
    if options.stdio:
        run_stdio()
    else:
        run_http(options.http)


if __name__ == "__main__":
    main()
