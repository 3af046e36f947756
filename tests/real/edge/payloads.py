"""Bytes that two parsers may understand in two ways.

`{to}` in them is the path that reaches one of the upstreams. What they would smuggle is a request for
`{to}/smuggled`. Each has what the gateway has to make of it:

REFUSED      nothing reaches the upstream, the answer is an error, and the connection is closed
DENIED       the same, and the connection may go on: the request was whole
CLOSED       no request reaches the upstream as a whole; the connection is closed, answered or not
ONE          one request reaches the upstream, with the body as it was meant
AT_MOST_ONE  the same, or it is refused
KNOWN        it should be CLOSED; one request reaches the upstream, and nothing more (docs/conformance.md)
"""

REFUSED, DENIED, CLOSED = "refused and closed", "refused", "closed"
ONE, AT_MOST_ONE, KNOWN = "one request", "at most one request", "one request, which is known"

SMUGGLED = "GET {to}/smuggled HTTP/1.1\r\nHost: edge\r\n\r\n"


def post(fields, body=""):
    """`fields`: lines with their ends."""
    return f"POST {{to}}/meant HTTP/1.1\r\nHost: edge\r\n{fields}\r\n{body}"


def get(fields):
    return f"GET {{to}}/meant HTTP/1.1\r\nHost: edge\r\n{fields}\r\n"


def chunks(body):
    return post("Transfer-Encoding: chunked\r\n", body)


def both(transfer_encoding):
    """A length that holds everything, and a coding whose body ends at once."""
    body = "0\r\n\r\n" + SMUGGLED
    return post("Content-Length: {length}\r\n" + transfer_encoding + "\r\n", body)


FRAMING = [
    ("Content-Length and Transfer-Encoding", both("Transfer-Encoding: chunked"), REFUSED),
    ("the same, Transfer-Encoding first",
     post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n" + SMUGGLED), REFUSED),
    ("a coding that nobody knows", both("Transfer-Encoding: xchunked"), REFUSED),
    ("a space before the colon", both("Transfer-Encoding : chunked"), REFUSED),
    ("a tab before the colon", both("Transfer-Encoding\t: chunked"), REFUSED),
    ("vertical tab in the value", both("Transfer-Encoding: \x0bchunked"), REFUSED),
    ("a field that begins with a space", both(" Transfer-Encoding: chunked"), REFUSED),
    ("a folded line", both("X: y\r\n Transfer-Encoding: chunked"), REFUSED),
    ("a folded value", both("Transfer-Encoding:\r\n chunked"), REFUSED),
    ("two codings in two fields", both("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), REFUSED),
    ("chunked is not the last", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n" + SMUGGLED), REFUSED),
    ("identity", post("Transfer-Encoding: identity\r\n", SMUGGLED), REFUSED),
    ("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), REFUSED),
    ("chunked in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), REFUSED),
    ("gzip alone", post("Transfer-Encoding: gzip\r\n", SMUGGLED), REFUSED),
    ("chunked with a parameter", post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"), REFUSED),
    ("chunked in quotes", post('Transfer-Encoding: "chunked"\r\n', "0\r\n\r\n"), REFUSED),
    ("an empty coding", post("Transfer-Encoding:\r\n", "0\r\n\r\n" + SMUGGLED), REFUSED),
    ("chunked in HTTP/1.0",
     "POST {to}/meant HTTP/1.0\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", REFUSED),
    ("chunked in capitals", post("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"), ONE),
    ("Transfer_Encoding beside a length", post("Content-Length: 5\r\nTransfer_Encoding: chunked\r\n", "hello"), ONE),
    ("two lengths that differ", post("Content-Length: 5\r\nContent-Length: {length}\r\n", SMUGGLED), REFUSED),
    ("two lengths that agree", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), REFUSED),
    ("a list of lengths", post("Content-Length: 5, 5\r\n", "hello"), REFUSED),
    ("a length with a plus", post("Content-Length: +5\r\n", "hello"), REFUSED),
    ("a length with a minus", post("Content-Length: -5\r\n", "hello"), REFUSED),
    ("a length in hexadecimal", post("Content-Length: 0x5\r\n", "hello"), REFUSED),
    ("a length with a fraction", post("Content-Length: 5.0\r\n", "hello"), REFUSED),
    ("a length and a word", post("Content-Length: 5 hello\r\n", "hello"), REFUSED),
    ("an empty length", post("Content-Length:\r\n", SMUGGLED), REFUSED),
    ("a length beyond 64 bits", post("Content-Length: 18446744073709551621\r\n", "hello"), REFUSED),
    ("a length beyond 63 bits", post("Content-Length: 9223372036854775813\r\n", "hello"), REFUSED),
    ("a request as the body of a GET", get("Content-Length: {length}\r\n") + SMUGGLED, ONE),
    ("a request as the body of a chunk", chunks("{length_hex}\r\n" + SMUGGLED + "\r\n0\r\n\r\n"), ONE),
]

CHUNKS = [
    ("plain chunks", chunks("5\r\nhello\r\n0\r\n\r\n"), ONE),
    ("a size with leading zeros", chunks("0005\r\nhello\r\n0\r\n\r\n"), ONE),
    ("a size with 0x", chunks("0x5\r\nhello\r\n0\r\n\r\n"), CLOSED),
    ("a size with a plus", chunks("+5\r\nhello\r\n0\r\n\r\n"), CLOSED),
    ("a size with a minus", chunks("-5\r\nhello\r\n0\r\n\r\n"), CLOSED),
    ("a size with an underscore", chunks("0_5\r\nhello\r\n0\r\n\r\n"), CLOSED),
    ("a size after a space", chunks(" 5\r\nhello\r\n0\r\n\r\n"), CLOSED),
    ("no size", chunks("\r\nhello\r\n0\r\n\r\n"), KNOWN),
    ("a size of 68 bits", chunks("10000000000000005\r\nhello\r\n0\r\n\r\n"), CLOSED),
    ("a size of 64 bits", chunks("fffffffffffffffb\r\nhello\r\n0\r\n\r\n" + SMUGGLED), CLOSED),
    ("a size that ends with LF", chunks("5\nhello\r\n0\r\n\r\n"), CLOSED),
    ("a size that ends with CR", chunks("5\rhello\r\n0\r\n\r\n"), CLOSED),
    ("an extension with LF in it", chunks("5;a\nhello\r\n0\r\n\r\n" + SMUGGLED), CLOSED),
    ("an extension with CR in it", chunks("5;a\rb\r\nhello\r\n0\r\n\r\n"), CLOSED),
    ("a chunk without an end", chunks("5\r\nhelloXX0\r\n\r\n" + SMUGGLED), CLOSED),
    ("a chunk that is longer than said", chunks("5\r\nhello, you\r\n0\r\n\r\n"), CLOSED),
    ("a chunk that ends with LF", chunks("5\r\nhello\n0\r\n\r\n" + SMUGGLED), CLOSED),
    ("a last chunk that ends with LF", chunks("5\r\nhello\r\n0\n\n" + SMUGGLED), CLOSED),
]

LINES = [
    ("a line that ends with LF", "GET {to}/meant HTTP/1.1\nHost: edge\n\n", AT_MOST_ONE),
    ("a field that ends with LF", get("X: y\nY: z\r\n"), AT_MOST_ONE),
    ("CR in a value", get("X: y\rHost: other\r\n"), REFUSED),
    ("NUL in a value", get("X: y\0z\r\n"), REFUSED),
    ("NUL in a name", get("X\0: y\r\n"), REFUSED),
    ("a name with a space", get("X y: z\r\n"), REFUSED),
    ("a name of nothing", get(": y\r\n"), REFUSED),
    ("a field without a colon", get("nothing\r\n"), REFUSED),
    ("DEL in a value", get("X: y\x7fz\r\n"), REFUSED),
    ("two spaces in the request line", "GET  {to}/meant HTTP/1.1\r\nHost: edge\r\n\r\n", REFUSED),
    ("a tab in the request line", "GET\t{to}/meant\tHTTP/1.1\r\nHost: edge\r\n\r\n", REFUSED),
    ("a space in the path", "GET {to}/me ant HTTP/1.1\r\nHost: edge\r\n\r\n", REFUSED),
    ("http in small letters", "GET {to}/meant http/1.1\r\nHost: edge\r\n\r\n", REFUSED),
    ("HTTP/1.10", "GET {to}/meant HTTP/1.10\r\nHost: edge\r\n\r\n", REFUSED),
    ("HTTP/2.0", "GET {to}/meant HTTP/2.0\r\nHost: edge\r\n\r\n", REFUSED),
    ("HTTP/0.9", "GET {to}/meant\r\n\r\n", CLOSED),
    ("a method with a bracket", "G(T {to}/meant HTTP/1.1\r\nHost: edge\r\n\r\n", REFUSED),
    ("CONNECT", "CONNECT edge:80 HTTP/1.1\r\nHost: edge:80\r\n\r\n", DENIED),
    ("TRACE", "TRACE {to}/meant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("empty lines before a request", "\r\n\r\nGET {to}/meant HTTP/1.1\r\nHost: edge\r\n\r\n", ONE),
]

HOSTS = [
    ("no Host", "GET {to}/meant HTTP/1.1\r\n\r\n", REFUSED),
    ("two Hosts", get("Host: other\r\n"), REFUSED),
    ("two Hosts that agree", get("Host: edge\r\n"), REFUSED),
    ("a list of Hosts", "GET {to}/meant HTTP/1.1\r\nHost: edge, other\r\n\r\n", REFUSED),
    ("Host with a person", "GET {to}/meant HTTP/1.1\r\nHost: me@edge\r\n\r\n", REFUSED),
    ("Host with a path", "GET {to}/meant HTTP/1.1\r\nHost: edge/x\r\n\r\n", REFUSED),
    ("Host with a bad port", "GET {to}/meant HTTP/1.1\r\nHost: edge:80x\r\n\r\n", REFUSED),
    ("an empty Host", "GET {to}/meant HTTP/1.1\r\nHost:\r\n\r\n", REFUSED),
    ("another authority than Host", "GET http://other{to}/meant HTTP/1.1\r\nHost: edge\r\n\r\n", REFUSED),
    ("the same authority as Host", "GET http://edge{to}/meant HTTP/1.1\r\nHost: edge\r\n\r\n", ONE),
]

PATHS = [
    ("dot segments", "GET {to}/x/../meant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("encoded dot segments", "GET {to}/%2e%2e/meant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("an encoded slash", "GET {to}%2fmeant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("an encoded backslash", "GET {to}/%5cmeant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("a backslash", "GET {to}/\\meant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("two slashes", "GET {to}//meant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("an encoded NUL", "GET {to}/%00meant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("an encoded line break", "GET {to}/%0d%0ameant HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
    ("a fragment", "GET {to}/meant#x HTTP/1.1\r\nHost: edge\r\n\r\n", AT_MOST_ONE),
    ("no path", "GET edge HTTP/1.1\r\nHost: edge\r\n\r\n", DENIED),
]

CONNECTION = [
    (f"Connection names {name}", get(f"Connection: keep-alive, {name}\r\n"), AT_MOST_ONE)
    for name in ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "traceparent", "Host")
] + [
    ("Connection names Content-Length",
     post("Connection: Content-Length\r\nContent-Length: {length}\r\n", SMUGGLED), ONE),
    ("Connection names Transfer-Encoding",
     post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "{length_hex}\r\n" + SMUGGLED + "\r\n0\r\n\r\n"), ONE),
    ("Upgrade to h2c", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"), ONE),
    ("Upgrade to a WebSocket that is none, and a request behind it",
     get("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n") + SMUGGLED, AT_MOST_ONE),
    ("Upgrade with a body",
     post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {length}\r\n", SMUGGLED), AT_MOST_ONE),
]

TABLE = [*FRAMING, *CHUNKS, *LINES, *HOSTS, *PATHS, *CONNECTION]
