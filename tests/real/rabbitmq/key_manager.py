"""A key manager that knows every token: `NAME~CLIENT` is of that client, and active. And a list of revoked
tokens, which is empty until a test fills it."""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wire import LOOPBACK, free_ports

LIST = "/internal/data/v1/revokedjwt"


class KeyManager:
    def __init__(self):
        [self.port] = free_ports(1)
        self.revoked = []
        self.lists = 0
        self.questions = 0
        self.server = None

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.port}"

    def start(self):
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                [token] = urllib.parse.parse_qs(body)["token"]
                owner.questions += 1
                self.answer({"active": True, "client_id": token.rsplit("~", 1)[-1], "scope": "a"})

            def do_GET(self):
                owner.lists += 1
                self.answer(owner.revoked)

            def answer(self, value):
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer((LOOPBACK, self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
