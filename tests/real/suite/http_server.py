"""As much of HTTP/1.1 as the peers need, for thousands of requests a second in one process."""

import asyncio


class Connection(asyncio.Protocol):
    """One kept connection; `answer(request line, headers, body)` gives an awaitable or bytes."""

    def __init__(self, answer):
        self.answer = answer
        self.buffer = b""
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.buffer[:end].split(b"\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip()
            whole = end + 4 + int(headers.get(b"content-length", 0))
            if len(self.buffer) < whole:
                return
            body, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            self.answer(first, headers, body, self.reply)

    def reply(self, status, body, kind=b"application/json"):
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (status, kind, len(body), body)
            )


async def serve(port, answer):
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(answer), "127.0.0.1", port, backlog=1024)
