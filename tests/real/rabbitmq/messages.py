"""Messages as API Manager publishes them, in both of its encodings: written from the description of the
format, apart from the code that reads them."""

import base64
import json
import struct

MAP = "jms/map-message"
TEXT = "text/plain"


def map_message(fields):
    """The body of a JMS MapMessage: texts, whole numbers, truth values and null."""
    parts = [struct.pack(">i", len(fields))]
    for name, value in fields.items():
        parts.append(name.encode() + b"\0")
        match value:
            case None:
                parts.append(b"\x0b")
            case bool():
                parts.append(b"\x01" + struct.pack(">b", value))
            case int():
                parts.append(b"\x07" + struct.pack(">q", value))
            case str():
                parts.append(b"\x0a" + value.encode() + b"\0")
            case _:
                raise TypeError(f"{name}: {value!r}")
    return b"".join(parts)


def json_text(fields):
    return json.dumps({"event": {"payloadData": fields}}).encode()


def encoded(fields, encoding):
    return map_message(fields) if encoding == MAP else json_text(fields)


def notification(kind, at, event, encoding=TEXT):
    """`at`: milliseconds since 1970."""
    whole = {
        "eventId": "0d4b5d3e-0000-4000-8000-000000000000",
        "timeStamp": at,
        "type": kind,
        "tenantId": -1234,
        "tenantDomain": "carbon.super",
    } | event
    fields = {
        "eventType": kind,
        "timestamp": at,
        "event": base64.b64encode(json.dumps(whole).encode()).decode(),
    }
    return encoded(fields, encoding)


def revocation(token, encoding=TEXT, ttl="3600", **more):
    fields = {"eventId": "e", "revokedToken": token, "ttl": ttl, "tenantId": -1234} | more
    return encoded(fields, encoding)
