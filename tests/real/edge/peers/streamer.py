"""An upstream of long answers and long requests.

    python3 streamer.py PORT

`GET /bytes/N`: N bytes. `POST /count`: how many bytes the body had. `POST /stuck`: never reads the
body, never answers. `GET /events`: one server-sent event at once and one each second, without an end.
"""

import asyncio
import contextlib
import sys

PART = bytes(256 * 1024)
LIMIT = 256 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n"


async def serve(reader, writer):
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while await answer(reader, writer):
            pass
    writer.close()


async def answer(reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if target.endswith("/stuck"):
        await asyncio.Event().wait()
    if target.endswith("/events"):
        await events(writer)
        return False
    body = await count(reader, fields)
    if "/bytes/" in target:
        await many_bytes(writer, int(target.rpartition("/")[2]))
        return True
    text = b"%d" % body
    writer.write(HEAD % (b"text/plain", b"Content-Length: %d" % len(text)) + text)
    await writer.drain()
    return True


async def count(reader, fields):
    if "chunked" in fields.get("transfer-encoding", ""):
        size, total = None, 0
        while size != 0:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            total += await discard(reader, size)
            await reader.readexactly(2)
        return total
    return await discard(reader, int(fields.get("content-length", 0)))


async def discard(reader, size):
    left = size
    while left:
        part = await reader.read(min(left, LIMIT))
        if not part:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(part)
    return size


async def many_bytes(writer, size):
    writer.write(HEAD % (b"application/octet-stream", b"Content-Length: %d" % size))
    while size:
        part = PART[:size]
        writer.write(part)
        size -= len(part)
        await writer.drain()


async def events(writer):
    writer.write(HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked"))
    number = 0
    while True:
        event = b"data: %d\n\n" % number
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        number += 1
        await asyncio.sleep(1)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=LIMIT, backlog=2048)
    await server.serve_forever()


asyncio.run(main())
