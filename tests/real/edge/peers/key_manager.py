"""A key manager that costs little: good tokens say themselves how long they are good, or whose they are.

    python3 key_manager.py PORT
"""

import asyncio
import json
import sys
import time
import urllib.parse

from http_server import serve

HOUR = 3600


def verdict(token):
    if token.startswith("good-"):
        return {"active": True, "client_id": "suite", "scope": "suite", "exp": int(time.time()) + HOUR}
    if token.startswith("until-"):
        end = int(token.removeprefix("until-"))
        return {"active": end > time.time(), "client_id": "suite", "scope": "suite", "exp": end}
    if token.startswith("of-"):
        client = token.removeprefix("of-")
        return {"active": True, "client_id": client, "exp": int(time.time()) + HOUR}
    if token.startswith("anonymous-"):
        return {"active": True, "exp": int(time.time()) + HOUR}
    return {"active": False}


def answer(_first, _headers, body, reply):
    [token] = urllib.parse.parse_qs(body.decode())["token"]
    reply(b"200 OK", json.dumps(verdict(token)).encode())


async def main():
    await serve(int(sys.argv[1]), answer)
    await asyncio.Event().wait()


asyncio.run(main())
