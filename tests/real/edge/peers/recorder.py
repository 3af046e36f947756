"""An upstream on Python's own server that prints every request it saw, one JSON each line.

    python3 recorder.py PORT
"""

import http.server
import json
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def answer(self):
        body = self.read_body()
        if body is None:
            return  # It never became whole.
        seen = {
            "request": f"{self.command} {self.path}",
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": body.decode("latin-1"),
        }
        print(json.dumps(seen), flush=True)
        text = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer

    def read_body(self):
        """As simple-minded servers do it; `None` where it ends early."""
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            body = b""
            while line := self.rfile.readline():
                size = int(line.split(b";")[0], 16)
                body += self.rfile.read(size)
                end = self.rfile.readline()
                if not size:
                    while end.strip():
                        end = self.rfile.readline()
                    return body if end else None
            return None
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
