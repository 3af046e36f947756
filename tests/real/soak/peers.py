"""What stands around the gateway: a key manager that demands the gateway's own token, and an
upstream.

    python3 peers.py KEY_MANAGER_PORT UPSTREAM_PORT

Own tokens live LIFE seconds from the moment they are answered, and not a moment longer. The token
endpoint is slow on purpose: whoever waits for it can be seen. Prints one line for each token call
(`token BEGIN END`) and for each refused own token (`refused TIME`), by the monotonic clock.
"""

import asyncio
import base64
import json
import sys
import time
import urllib.parse

from http_server import serve

LIFE = 2
TOKEN_SECONDS = 0.25
CLIENT = ("gateway", "demo-secret")
BASIC = b"Basic " + base64.b64encode(":".join(CLIENT).encode())


class KeyManager:
    def __init__(self):
        self.ends = {}
        self.tokens = set()
        self.introspections = 0
        self.refused = 0

    def answer(self, first, headers, body, reply):
        if first.startswith(b"POST /introspect "):
            self.introspect(headers, body, reply)
        elif first.startswith(b"POST /token "):
            self.token(headers, body, reply)
        elif first.startswith(b"GET /counts "):
            counts = {
                "introspections": self.introspections,
                "distinct": len(self.tokens),
                "refused": self.refused,
            }
            reply(b"200 OK", json.dumps(counts).encode())
        else:
            reply(b"404 Not Found", b"{}")

    def introspect(self, headers, body, reply):
        now = time.monotonic()
        scheme, _, own = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or now >= self.ends.get(own, 0):
            self.refused += 1
            print(f"refused {now}", flush=True)
            reply(b"401 Unauthorized", b'{"error":"invalid_token"}')
            return
        self.introspections += 1
        self.tokens.add(body)
        expiry = int(time.time()) + 60
        reply(
            b"200 OK",
            b'{"active":true,"client_id":"soak","scope":"orders.read","exp":%d}' % expiry,
        )

    def token(self, headers, body, reply):
        form = urllib.parse.parse_qs(body.decode())
        wanted = form.get("grant_type") == ["client_credentials"]
        if not wanted or headers.get(b"authorization") != BASIC:
            reply(b"401 Unauthorized", b'{"error":"invalid_client"}')
            return
        begin = time.monotonic()

        def issue():
            now = time.monotonic()
            own = f"own-{len(self.ends) + 1}"
            self.ends[own.encode()] = now + LIFE
            print(f"token {begin} {now}", flush=True)
            answer = {"access_token": own, "token_type": "Bearer", "expires_in": LIFE}
            reply(b"200 OK", json.dumps(answer).encode())

        asyncio.get_running_loop().call_later(TOKEN_SECONDS, issue)


def upstream(_first, _headers, _body, reply):
    reply(b"200 OK", b"an order", b"text/plain")


async def main():
    key_manager, orders = map(int, sys.argv[1:])
    await serve(key_manager, KeyManager().answer)
    await serve(orders, upstream)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
