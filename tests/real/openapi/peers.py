"""A key manager and an upstream in one process. A token says its own scopes; the upstream says what it was asked for.

    python3 peers.py KEY_MANAGER_PORT UPSTREAM_PORT
"""

import asyncio
import base64
import json
import sys
import urllib.parse

from http_server import serve


def token(scopes):
    """A token with these scopes. One without any has a scope that nobody asks for."""
    text = " ".join(sorted(scopes)) or "-"
    return base64.urlsafe_b64encode(text.encode()).decode()


def introspect(_first, _headers, body, reply):
    asked = urllib.parse.parse_qs(body.decode())["token"][0]
    scope = base64.urlsafe_b64decode(asked).decode()
    verdict = {"active": True, "client_id": "suite", "scope": scope}
    reply(b"200 OK", json.dumps(verdict).encode())


def answer(first, _headers, _body, reply):
    reply(b"200 OK", first, b"text/plain")


async def main():
    ports = [int(port) for port in sys.argv[1:]]
    await serve(ports[0], introspect)
    await serve(ports[1], answer)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
