"""A WebSocket server that sends back what it gets; `close CODE REASON` ends the connection so.

    python3 websocket_echo.py PORT
"""

import sys

from websockets.sync.server import serve


def echo(socket):
    for message in socket:
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            socket.close(int(code), reason)
            return
        socket.send(message)


def choose(_connection, offered):
    return offered[0] if offered else None


with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None, select_subprotocol=choose) as server:
    server.serve_forever()
