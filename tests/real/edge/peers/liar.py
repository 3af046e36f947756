"""An upstream whose answers are what the table says, byte by byte; `…/good` gets a good one.

    python3 liar.py PORT
"""

import asyncio
import contextlib
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from answers import ANSWERS, CUT  # noqa: E402

TABLE = list(ANSWERS.values())
PAUSE_SECONDS = 0.05


async def serve(reader, writer):
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            place = head.split(b" ")[1].decode().rpartition("/")[2]
            if place == "good":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
                continue
            text, expected = TABLE[int(place)]
            writer.write(text.encode("latin-1"))
            await writer.drain()
            if expected == CUT or "Content-Length: 2\r\n" not in text:
                # So that what is missing is missing for good.
                await asyncio.sleep(PAUSE_SECONDS)
                break
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
