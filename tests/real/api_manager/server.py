"""The internal data API over HTTP, and a way for tests to change what it knows and how it behaves.

Below the data context (`/internal/data/v1`, with one slash or several) it is what a gateway sees of an
API Manager. Below `/control` it is the test's: that part asks for no credentials and is never counted.

    POST /control/put        {"kind": "subscriptions", "rows": [{...}]}
    POST /control/remove     {"kind": "subscriptions", "rows": [{...}]}     by identity
    POST /control/clear      {"kind": "subscriptions"}
    POST /control/large      {"subscriptions": 1000000, "applications": 100000, "apis": 1000}
    POST /control/behave     {"kind": "apis" or null, "how": "ok", "for": N or null}
    GET  /control/calls      the calls so far; DELETE forgets them

`how` is one of HOWS; "for" ends it after so many calls.
"""

import base64
import email.utils
import json
import socket
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import model

CONTEXT = "internal/data/v1"
CHUNK_BYTES = 64 * 1024
# Longer answers are sent in chunks, as Tomcat does.
BUFFER_BYTES = 8 * 1024
HOWS = (
    "ok",
    "status",  # an error of `status` (500)
    "empty",  # 204 and nothing
    "html",  # 200 and the page of a login
    "garbage",  # 200 and bytes that are no JSON
    "other-json",  # 200 and JSON without a list
    "cut",  # the connection ends in the middle of the list
    "hang",  # nothing for `seconds` (30), then the connection ends
    "slow",  # the answer after `seconds` (1)
    "trickle",  # the body byte by byte, for at most `seconds` (30)
    "redirect",  # to somewhere else, with credentials to be had
    "endless",  # rows without end, until the client has enough
)


class State:
    """All that the threads of the server share."""

    def __init__(self, username, password, generation, tenants=()):
        self.model = model.Model()
        self.generation = generation
        self.tenants = tenants
        self.date_offset = 0
        self.authorization = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self.lock = threading.Lock()
        self.calls = []
        self.behaviour = {}
        self.texts = {}

    def record(self, call):
        with self.lock:
            self.calls.append(call)

    def take_calls(self, forget):
        with self.lock:
            calls = list(self.calls)
            if forget:
                self.calls.clear()
            return calls

    def behave(self, kind, how):
        if how["how"] not in HOWS:
            raise ValueError(f"{how['how']} is none of {', '.join(HOWS)}")
        with self.lock:
            self.behaviour[kind] = how

    def next_behaviour(self, kind):
        with self.lock:
            for key in (kind, None):
                how = self.behaviour.get(key)
                if how is None:
                    continue
                if how.get("for") is not None:
                    if how["for"] <= 0:
                        continue
                    how["for"] -= 1
                return how
        return {"how": "ok"}

    def set_large(self, **sizes):
        texts = model.large(**sizes)
        with self.lock:
            self.texts = texts

    def body(self, kind, query):
        known = set(query) & set(model.QUERIES[kind])
        if kind in self.texts and not known:
            return self.texts[kind]
        rows = self.model.select(kind, query, self.generation)
        return json.dumps({"count": len(rows), "list": rows}, separators=(",", ":")).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "WSO2 Carbon Server"
    sys_version = ""
    # Otherwise the end of a short answer would wait for the client's acknowledgement.
    disable_nagle_algorithm = True
    timeout = 60

    @property
    def state(self):
        return self.server.state

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate((timestamp or time.time()) + self.state.date_offset, usegmt=True)

    def do_GET(self):
        split = urllib.parse.urlsplit(self.path)
        parts = [part for part in split.path.split("/") if part]
        if parts[:1] == ["control"]:
            return self.control(parts[1:], None)
        query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        authorised = self.headers.get("Authorization") == self.state.authorization
        tenant = self.headers.get("xWSO2Tenant")
        kind = "/".join(parts).removeprefix(CONTEXT).strip("/")
        self.state.record(
            {
                "path": split.path,
                "kind": kind,
                "query": query,
                "raw_query": split.query,
                "tenant": tenant,
                "authorised": authorised,
                "user_agent": self.headers.get("User-Agent"),
            }
        )
        if kind not in model.KINDS or "/".join(parts[:3]) != CONTEXT:
            return self.fail(404, "Not Found")
        how = self.state.next_behaviour(kind)
        if self.misbehave(kind, how):
            return None
        if not authorised:
            return self.fail(401, "Unauthenticated request", {"WWW-Authenticate": 'Basic realm="WSO2"'})
        if tenant and self.state.tenants and tenant not in self.state.tenants:
            return self.fail(400, "Invalid tenant")
        return self.answer(self.state.body(kind, query))

    def do_POST(self):
        parts = [part for part in self.path.split("/") if part]
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if parts[:1] != ["control"]:
            return self.fail(405, "Method Not Allowed")
        return self.control(parts[1:], json.loads(body or b"{}"))

    def do_DELETE(self):
        if self.path != "/control/calls":
            return self.fail(405, "Method Not Allowed")
        return self.answer(json.dumps(self.state.take_calls(forget=True)).encode())

    def control(self, parts, asked):
        state = self.state
        match parts:
            case ["calls"]:
                return self.answer(json.dumps(state.take_calls(forget=False)).encode())
            case ["put"]:
                for row in asked["rows"]:
                    state.model.put(asked["kind"], row)
            case ["remove"]:
                for row in asked["rows"]:
                    state.model.remove(asked["kind"], row)
            case ["clear"]:
                state.model.clear(asked["kind"])
            case ["large"]:
                state.set_large(**asked)
            case ["behave"]:
                state.behave(asked.get("kind"), asked)
            case ["generation"]:
                state.generation = asked["generation"]
            case ["clock"]:
                state.date_offset = asked["offset"]
            case _:
                return self.fail(404, "Not Found")
        return self.answer(b"{}")

    def misbehave(self, kind, how):
        """Answers in that way; false where the answer is to be a proper one."""
        match how["how"]:
            case "ok":
                return False
            case "slow":
                time.sleep(how.get("seconds", 1))
                return False
            case "status":
                self.fail(how.get("status", 500), "Internal server error")
            case "empty":
                self.answer(b"", 204)
            case "html":
                page = b"<!DOCTYPE html><html><body>Sign in</body></html>"
                self.answer(page, content_type="text/html")
            case "garbage":
                self.answer(b'{"count":1,"list":[{"\xff\x00')
            case "other-json":
                self.answer(b'{"error":{"list":[]}}')
            case "redirect":
                self.answer(b"", 302, headers={"Location": "http://127.0.0.1:1/elsewhere"})
            case "cut":
                self.cut(kind)
            case "hang":
                time.sleep(how.get("seconds", 30))
                self.end()
            case "trickle":
                self.trickle(kind, how.get("seconds", 30))
            case "endless":
                self.endless()
        return True

    def cut(self, kind):
        body = self.state.body(kind, {})
        self.begin(200, "application/json", {"Content-Length": str(len(body))})
        self.wfile.write(body[: len(body) // 2])
        self.end()

    def trickle(self, kind, seconds):
        body = self.state.body(kind, {})
        self.begin(200, "application/json", {"Content-Length": str(len(body))})
        end = time.monotonic() + seconds
        try:
            for byte in body:
                if time.monotonic() > end:
                    break
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            pass
        self.end()

    def endless(self):
        self.begin(200, "application/json", {"Transfer-Encoding": "chunked"})
        row = b'{"subscriptionId":1,"policyId":"Gold","apiId":1,"appId":1,"subscriptionState":"UNBLOCKED"},'
        rows = row * (CHUNK_BYTES // len(row))
        try:
            self.chunk(b'{"list":[')
            # A bound all the same: 64 GiB.
            for _ in range(1 << 20):
                self.chunk(rows)
        except OSError:
            pass
        self.end()

    def end(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def begin(self, status, content_type, headers):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def answer(self, body, status=200, content_type="application/json", headers=None):
        headers = dict(headers or {})
        try:
            if len(body) <= BUFFER_BYTES:
                if status != 204:
                    headers["Content-Length"] = str(len(body))
                self.begin(status, content_type, headers)
                self.wfile.write(body)
                return
            self.begin(status, content_type, headers | {"Transfer-Encoding": "chunked"})
            whole = memoryview(body)
            for start in range(0, len(body), CHUNK_BYTES):
                self.chunk(whole[start : start + CHUNK_BYTES])
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            # A client that is gone is its own affair.
            self.close_connection = True

    def chunk(self, part):
        self.wfile.write(b"%x\r\n" % len(part))
        self.wfile.write(part)
        self.wfile.write(b"\r\n")

    def fail(self, status, message, headers=None):
        body = {"code": status, "message": message, "description": message, "moreInfo": "", "error": []}
        self.answer(json.dumps(body).encode(), status, headers=headers)


class ApiManager(ThreadingHTTPServer):
    """The server. `port` 0: any that is free."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, port=0, username="admin", password="admin", generation=3, certificate=None, tenants=()
    ):
        self.state = State(username, password, generation, tenants)
        super().__init__(("127.0.0.1", port), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def handle_error(self, request, client_address):
        pass
