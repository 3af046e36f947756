"""What HTTP/2 can say and HTTP/1.1 towards an upstream must not repeat (RFC 9113 §8.2, §8.3, §10.3).

Each payload is the list of header fields (`None`: the usual ones with the fields after it), the parts
of its body, trailers, and what the gateway has to make of it; see `payloads.py`.
"""

from payloads import AT_MOST_ONE, CLOSED, ONE, REFUSED, SMUGGLED

USUAL = [(":method", "POST"), (":scheme", "http"), (":authority", "edge"), (":path", "{to}/meant")]


def usual(*fields, without=(), **instead):
    """The usual fields with some left out or others instead, then more."""
    kept = [(name, instead.get(name.strip(":"), value)) for name, value in USUAL if name not in without]
    return [*kept, *fields]


def field(name, value, expected=REFUSED, body=("hello",)):
    return usual((name, value)), body, [], expected


TABLE_H2 = {
    "a plain request": (usual(), ["hello"], [], ONE),
    "a request as the body": (usual(("content-length", "{length}")), [SMUGGLED], [], ONE),
    "a request as the body, without a length": (usual(), [SMUGGLED], [], ONE),
    "cookies in crumbs": (usual(("cookie", "a=b"), ("cookie", "c=d")), ["hello"], [], ONE),
    "Transfer-Encoding": field("transfer-encoding", "chunked", body=["0\r\n\r\n" + SMUGGLED]),
    "Connection": field("connection", "keep-alive"),
    "Keep-Alive": field("keep-alive", "timeout=5"),
    "Proxy-Connection": field("proxy-connection", "keep-alive"),
    "Upgrade": field("upgrade", "websocket"),
    "TE other than trailers": field("te", "gzip"),
    "TE trailers": field("te", "trailers", ONE),
    "a length less than the body": field("content-length", "2", CLOSED, ["hello" + SMUGGLED]),
    "a length less than the first part": field("content-length", "5", CLOSED, ["hello", SMUGGLED]),
    "a length more than the body": field("content-length", "500", CLOSED),
    "a length and no body": field("content-length", "5", CLOSED, []),
    "two lengths": (usual(("content-length", "5"), ("content-length", "6")), ["hello"], [], CLOSED),
    "a list of lengths": field("content-length", "5, 5", CLOSED),
    "a length with a plus": field("content-length", "+5", CLOSED),
    "CR LF in a value": field("x", "y\r\nTransfer-Encoding: chunked"),
    "CR LF and a request in a value": field("x", "y\r\n\r\n" + SMUGGLED),
    "LF in a value": field("x", "y\nz: 1"),
    "CR in a value": field("x", "y\rz: 1"),
    "NUL in a value": field("x", "y\0z"),
    "a space before a value": field("x", " y", AT_MOST_ONE),
    "CR LF in a name": field("x: y\r\ntransfer-encoding", "chunked"),
    "a colon in a name": field("transfer-encoding: chunked\r\nx", "y"),
    "a space in a name": field("transfer-encoding ", "chunked"),
    "capitals in a name": field("X-Capital", "y"),
    "an empty name": field("", "y"),
    "CR LF in the method": (usual(method="GET {to}/smuggled HTTP/1.1\r\nX:"), [], [], REFUSED),
    "a space in the method": (usual(method="GET {to}/smuggled"), [], [], REFUSED),
    "an empty method": (usual(method=""), [], [], REFUSED),
    "CR LF in the path": (usual(path="{to}/meant HTTP/1.1\r\nX: y"), [], [], REFUSED),
    "a request in the path": (usual(path="{to}/meant HTTP/1.1\r\nHost: edge\r\n\r\n" + SMUGGLED), [], [], REFUSED),
    "a space in the path": (usual(path="{to}/me ant"), [], [], REFUSED),
    "an empty path": (usual(path=""), [], [], REFUSED),
    "a path without a slash": (usual(path="meant"), [], [], REFUSED),
    "dot segments": (usual(path="{to}/x/../meant"), [], [], REFUSED),
    "CR LF in the authority": (usual(authority="edge\r\nX: y"), [], [], REFUSED),
    "a person in the authority": (usual(authority="me@edge"), [], [], REFUSED),
    "a path in the authority": (usual(authority="edge/x"), [], [], REFUSED),
    "another Host than the authority": field("host", "other"),
    "two Hosts": (usual(("host", "edge"), ("host", "edge")), [], [], REFUSED),
    "CR LF in the scheme": (usual(scheme="http\r\nX: y"), [], [], REFUSED),
    "a path in the scheme": (usual(scheme="http://edge/smuggled?"), [], [], REFUSED),
    "no path": (usual(without=[":path"]), [], [], REFUSED),
    "no method": (usual(without=[":method"]), [], [], REFUSED),
    "no scheme": (usual(without=[":scheme"]), [], [], REFUSED),
    "no authority": (usual(without=[":authority"]), [], [], REFUSED),
    "two paths": (usual((":path", "{to}/smuggled")), [], [], REFUSED),
    "two methods": (usual((":method", "GET")), [], [], REFUSED),
    "a pseudo-header that nobody knows": field(":smuggled", "y"),
    "one of an answer": field(":status", "200"),
    "a pseudo-header behind a header": ([("x", "y"), *USUAL], [], [], REFUSED),
    # RFC 9113 §8.1 calls it malformed; the library drops the field and goes on.
    "a pseudo-header in trailers": (usual(), ["hello"], [(":path", "{to}/smuggled")], AT_MOST_ONE),
    "a length in trailers": (usual(), ["hello"], [("content-length", "500")], AT_MOST_ONE),
    "Transfer-Encoding in trailers": (usual(), ["hello"], [("transfer-encoding", "chunked")], AT_MOST_ONE),
    "CR LF in trailers": (usual(), ["hello"], [("x", "y\r\n\r\n" + SMUGGLED)], CLOSED),
    "CONNECT": ([(":method", "CONNECT"), (":authority", "edge:80")], [SMUGGLED], [], REFUSED),
}
