"""Answers of upstreams that two parsers may read in two ways. `peers/liar.py` sends them as they are.

`BAD`: the client gets 502. `CUT`: the answer has begun, so the client sees that it is cut off, or 502.
`GOOD`: it passes. After each, the next request has to get its own answer.
"""

BAD, CUT, GOOD = 502, "cut off", 200

HEAD = "HTTP/1.1 200 OK\r\n"
SECOND = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"

ANSWERS = {
    "a plain answer": (HEAD + "Content-Length: 2\r\n\r\nok", GOOD),
    "a second answer behind it": (HEAD + "Content-Length: 2\r\n\r\nok" + SECOND, GOOD),
    "a second answer behind one in chunks": (HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + SECOND, GOOD),
    "a second answer behind 204": ("HTTP/1.1 204 No Content\r\n\r\n" + SECOND, 204),
    "a body behind 304": ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + SECOND, 304),
    "two lengths that differ": (HEAD + "Content-Length: 2\r\nContent-Length: 20\r\n\r\nok", BAD),
    # Chunks win (RFC 9112 §6.3): the length is left out of what goes on.
    "a length and chunks": (HEAD + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", GOOD),
    "a length with a plus": (HEAD + "Content-Length: +2\r\n\r\nok", BAD),
    "a negative length": (HEAD + "Content-Length: -2\r\n\r\nok", BAD),
    "a coding that nobody knows": (HEAD + "Transfer-Encoding: xchunked\r\n\r\nok", BAD),
    "a size of a chunk that is no number": (HEAD + "Transfer-Encoding: chunked\r\n\r\nx\r\nok\r\n0\r\n\r\n", CUT),
    "a chunk without an end": (HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n", CUT),
    "an end before the length": (HEAD + "Content-Length: 20\r\n\r\nok", CUT),
    "an end before the last chunk": (HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", CUT),
    "NUL in a value": (HEAD + "X: a\0b\r\nContent-Length: 2\r\n\r\nok", BAD),
    "CR in a value": (HEAD + "X: a\rb\r\nContent-Length: 2\r\n\r\nok", BAD),
    "a space in a name": (HEAD + "X y: z\r\nContent-Length: 2\r\n\r\nok", BAD),
    "no status": ("HTTP/1.1\r\n\r\nok", BAD),
    "a status of four digits": ("HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", BAD),
    "no HTTP": ("SSH-2.0-OpenSSH_9.2\r\n", BAD),
    "nothing": ("", BAD),
    "101 that nobody asked for": ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + SECOND, BAD),
    "a header of 1 MiB": (HEAD + "X: " + "x" * (1 << 20) + "\r\nContent-Length: 2\r\n\r\nok", BAD),
}
