"""An API Manager for tests: the internal data API of WSO2 API Manager 3.x and 4.x, on loopback.

    python3 tests/real/api_manager [--port N] [--username NAME] [--password WORD] [--generation 3|4]
                                   [--certificate FILE KEY] [--tenant NAME]... [--rows FILE]

Says `listening on PORT` once it does, and runs until SIGTERM. See server.py for what it can be told.
"""

import argparse
import json
import signal
import sys

from server import ApiManager


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--username", default="admin")
    parser.add_argument("--password", default="admin")
    parser.add_argument("--generation", type=int, choices=(3, 4), default=3)
    parser.add_argument("--certificate", nargs=2, metavar=("FILE", "KEY"))
    parser.add_argument("--tenant", action="append", default=[])
    parser.add_argument("--rows", help="JSON: lists of rows by kind, to begin with")
    given = parser.parse_args()
    server = ApiManager(
        given.port,
        given.username,
        given.password,
        given.generation,
        given.certificate,
        tuple(given.tenant),
    )
    if given.rows:
        with open(given.rows) as file:
            for kind, rows in json.load(file).items():
                for row in rows:
                    server.state.model.put(kind, row)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"listening on {server.server_address[1]}", flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()


main()
