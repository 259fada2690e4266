"""WebSocket servers of the websockets library of Python.

Usage: server.py [CERT KEY]. It prints a line of JSON with the servers' ports, and
one with the code and reason of every connection that ends, "" if there was none.
It ends with its standard input.
"""

import asyncio
import json
import ssl
import sys

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

TLS = None
if len(sys.argv) > 2:
    TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TLS.load_cert_chain(sys.argv[1], sys.argv[2])

# What every server may do about compression, None is nothing.
SERVERS = {
    "echo": {},
    "nocontext": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    "windows": {"server_max_window_bits": 10, "client_max_window_bits": 9},
    "plain": None,
}


async def serve(ws, path=None):
    try:
        while True:
            message = await ws.recv()
            if not (isinstance(message, str) and message.startswith("!")):
                await ws.send(message)
                continue
            word, _, rest = message[1:].partition(" ")
            if word == "fragments":
                await ws.send(rest)
                await ws.send(rest[i : i + 3] for i in range(0, len(rest), 3))
                await ws.send(p for p in (b"", b"one, ", b"", b"x" * 70000, b""))
            elif word == "ping":
                await (await ws.ping(rest))
                await ws.send("pong " + rest)
            elif word == "close":
                code, _, reason = rest.partition(" ")
                await ws.close(int(code), reason)
    except websockets.ConnectionClosed as e:
        print(json.dumps({"closed": f"{e.rcvd.code} {e.rcvd.reason}" if e.rcvd else ""}), flush=True)


async def main():
    ports = {}
    for name, options in SERVERS.items():
        extensions = None if options is None else [ServerPerMessageDeflateFactory(**options)]
        server = await websockets.serve(
            serve, "127.0.0.1", 0, ssl=TLS, compression=None, extensions=extensions,
            subprotocols=["echo.v1"], max_size=None, ping_interval=None,
        )
        ports[name] = next(iter(server.sockets)).getsockname()[1]
    print(json.dumps({"ports": ports}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
