"""HTTP/2 frames that no decent client would send."""

import socket

import hpack
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame
from wire import LOOPBACK

SECONDS = 5
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def exchange(port, fields, body, trailers):
    """One request on a connection of its own. Returns its status, or `None` where the stream or the
    connection was ended instead."""
    encoder = hpack.Encoder()
    frames = [SettingsFrame(0), headers(encoder, fields, ended=not body and not trailers)]
    for number, part in enumerate(body):
        frame = DataFrame(1, part)
        if number + 1 == len(body) and not trailers:
            frame.flags.add("END_STREAM")
        frames.append(frame)
    if trailers:
        frames.append(headers(encoder, trailers, ended=True))
    with socket.create_connection((LOOPBACK, port), timeout=SECONDS) as connection:
        try:
            connection.sendall(PREFACE + b"".join(frame.serialize() for frame in frames))
            return answer(connection)
        except ConnectionError:
            return None


def headers(encoder, fields, ended):
    frame = HeadersFrame(1, encoder.encode(fields, huffman=False))
    frame.flags.add("END_HEADERS")
    if ended:
        frame.flags.add("END_STREAM")
    return frame


def answer(connection):
    """Reads to the end of the stream, or of the connection."""
    decoder, status = hpack.Decoder(), None
    for kind, flags, payload in frames_of(connection):
        if kind == 0x1:
            fields = dict(decoder.decode(payload, raw=True))
            status = int(fields.get(b":status", status or 0))
        if kind == 0x3 or kind == 0x7:
            return status if kind == 0x3 and status and status >= 400 else None
        if kind in (0x0, 0x1) and flags & 0x1:
            return status
    return None


def frames_of(connection):
    stream = connection.makefile("rb")
    while len(head := stream.read(9)) == 9:
        _, length = Frame.parse_frame_header(memoryview(head), strict=False)
        yield head[3], head[4], stream.read(length)
