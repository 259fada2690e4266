"""Cases that the websockets library of Python runs as a client.

Usage: client.py URL, where URL is the server's as ws:// or wss://. Every case
prints a line of JSON, {"case": ..., "error": ...}, and at the end comes how many
there were, {"done": ...}. SSL_CERT_FILE has the certificate to trust.
"""

import asyncio
import json
import random
import ssl
import sys
import urllib.parse
import urllib.request

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

URL = sys.argv[1]
TLS = ssl.create_default_context() if URL.startswith("wss:") else None
SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]
BOUND = 20  # seconds for a case

cases = []


def case(name, *args):
    """Registers a function, with arguments, as a case."""

    def register(f):
        cases.append((name, lambda: f(*args)))
        return f

    return register


def connect(path="/echo", **options):
    return websockets.connect(
        URL + path, ssl=TLS, max_size=None, ping_interval=None, close_timeout=BOUND, **options
    )


async def ask(path, **query):
    """Asks the server over HTTP."""
    url = "http" + URL[2:] + path + "?" + urllib.parse.urlencode(query)

    def get():
        with urllib.request.urlopen(url, timeout=BOUND, context=TLS) as answer:
            return answer.read().decode()

    return await asyncio.get_running_loop().run_in_executor(None, get)


def equal(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {repr(got)[:200]}, want {repr(want)[:200]}")


async def echoed(ws, message, want=None):
    """Sends a message, which may be an iterable of fragments, and has it back."""
    await ws.send(message)
    equal("echo", await ws.recv(), message if want is None else want)


async def ended(ws):
    """Waits for the end and returns the code and reason that the server sent."""
    try:
        while True:
            await ws.recv()
    except websockets.ConnectionClosed as e:
        return (e.rcvd.code, e.rcvd.reason) if e.rcvd else (1006, "")


def text(n):
    return "".join(chr(32 + i * i % 95) for i in range(n))


def binary(n):
    return bytes((i * i >> 5) & 255 for i in range(n))


MULTIBYTE = ["é", "κόσμε", "日本語テキスト", "🌍🚀\U0010ffff", "\x00\x7f\x80\u07ff\u0800\uffff\U00010000"]

for n in SIZES:

    @case(f"text of {n} bytes", n)
    async def _(n):
        async with connect() as ws:
            await echoed(ws, text(n))

    @case(f"binary of {n} bytes", n)
    async def _(n):
        async with connect() as ws:
            await echoed(ws, binary(n))

    @case(f"binary of {n} bytes, not compressed", n)
    async def _(n):
        async with connect("/plain", compression=None) as ws:
            equal("extensions", extensions(ws), [])
            await echoed(ws, binary(n))


@case("multi-byte characters")
async def _():
    async with connect() as ws:
        for s in MULTIBYTE:
            for k in (1, 7, 43, 1000, 30000):
                await echoed(ws, s * k)


@case("many messages without waiting")
async def _():
    async with connect() as ws:
        messages = [text(i) if i % 2 else binary(i) for i in range(1000)]
        sender = asyncio.ensure_future(send_all(ws, messages))
        for m in messages:
            equal("echo", await ws.recv(), m)
        await sender


async def send_all(ws, messages):
    for m in messages:
        await ws.send(m)


@case("fragments")
async def _():
    for compression in ("deflate", None):
        async with connect(compression=compression) as ws:
            await echoed(ws, ["one, ", "two, ", "three"], "one, two, three")
            await echoed(ws, ["", "κόσμε", "", "🌍", ""], "κόσμε🌍")
            await echoed(ws, [b"", b"", b""], b"")
            parts = [binary(n) for n in SIZES]
            await echoed(ws, parts, b"".join(parts))
            parts = [text(1) for _ in range(2000)]
            await echoed(ws, parts, "".join(parts))
            await echoed(ws, "after it")


@case("ping between fragments")
async def _():
    async with connect() as ws:

        async def fragments():
            yield "be"
            await (await ws.ping(b"between"))
            yield "tween"

        await echoed(ws, fragments(), "between")


def extensions(ws):
    return list(ws.extensions if hasattr(ws, "extensions") else ws.protocol.extensions)


async def traffic():
    """Returns how many bytes the server has received and sent."""
    return [int(n) for n in (await ask("/traffic")).split()]


async def check_deflate(ws, agreed):
    """Checks that messages are compressed, each direction with its context or not."""
    noise = random.Random(1)
    line = "".join(f"value={noise.randrange(100, 256)}; " for _ in range(1000))  # deflates to less than a half
    rounds = 20
    await echoed(ws, "all before it is counted")
    before = await traffic()
    for _ in range(rounds):
        await echoed(ws, line)
    used = [b - a for a, b in zip(before, await traffic())]
    contexts = [not agreed.local_no_context_takeover, not agreed.remote_no_context_takeover]
    windows = [agreed.local_max_window_bits, agreed.remote_max_window_bits]
    for what, n, context, window in zip(("received", "sent"), used, contexts, windows):
        # The window must reach back to the message before.
        least, most = (1000, 15000) if context and window > 13 else (20000, 120000)
        if not least <= n <= most:
            raise AssertionError(f"the server {what} {n} bytes of {rounds * len(line)}, with {agreed}")


async def deflate(path, **options):
    offer = ClientPerMessageDeflateFactory(**options)
    async with connect(path, extensions=[offer]) as ws:
        if not extensions(ws):
            raise AssertionError(f"declined {options}")
        agreed = extensions(ws)[0]
        if options.get("server_no_context_takeover"):
            equal("no context of the server", agreed.remote_no_context_takeover, True)
        if "server_max_window_bits" in options and agreed.remote_max_window_bits > options["server_max_window_bits"]:
            raise AssertionError(f"agreed to {agreed}, not to {options}")
        if path == "/nocontext":
            equal("no contexts", (agreed.local_no_context_takeover, agreed.remote_no_context_takeover), (True, True))
        noise = random.Random(2)
        for n in SIZES:
            await echoed(ws, text(n))
            await echoed(ws, bytes(noise.getrandbits(8) for _ in range(n % 70000)))
        for s in MULTIBYTE:
            await echoed(ws, s * 5000)
            await echoed(ws, [s * 300, s, s * 700], s * 1001)
        if options.get("server_max_window_bits", 15) > 8:
            await check_deflate(ws, agreed)


OFFERS = [
    {},
    {"client_max_window_bits": True},
    {"server_no_context_takeover": True},
    {"client_no_context_takeover": True},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
]
OFFERS += [{"server_max_window_bits": n} for n in (8, 9, 10, 12, 15)]
OFFERS += [{"client_max_window_bits": n} for n in (9, 12, 15)]
OFFERS += [{"server_max_window_bits": 10, "client_max_window_bits": 10, "server_no_context_takeover": True}]
for options in OFFERS:
    name = ", ".join(k if v is True else f"{k}={v}" for k, v in options.items()) or "nothing more"

    @case(f"deflate with {name}", options)
    async def _(options):
        await deflate("/echo", **options)


@case("deflate where the server has no contexts")
async def _():
    await deflate("/nocontext", client_max_window_bits=True)


@case("deflate where the server has none")
async def _():
    async with connect("/plain") as ws:
        equal("extensions", extensions(ws), [])
        await echoed(ws, text(1000))


@case("ping")
async def _():
    async with connect() as ws:
        for payload in (b"", b"x", b"\xff" * 125):
            await (await ws.ping(payload))
        await ws.pong(b"nobody asked")
        equal("what the server heard", await ws.recv(), "pong nobody asked")
        waiters = [await ws.ping(bytes([i])) for i in range(100)]
        await asyncio.gather(*waiters)
        await echoed(ws, "after them")


@case("ping of the server")
async def _():
    async with connect() as ws:
        for payload in ("hello", "x" * 125):
            await ws.send("!ping " + payload)
            equal("what the server heard", await ws.recv(), "pong " + payload)


for code, reason in [(1000, ""), (1000, "bye"), (1001, "going"), (3000, "é" * 61), (4999, "x" * 123)]:

    @case(f"close with {code} and {len(reason.encode())} bytes", code, reason)
    async def _(code, reason):
        async with connect() as ws:
            name = f"python {code} {len(reason)}"
            await echoed(ws, "!name " + name, "named")
            await ws.close(code, reason)
            equal("code that came back", (await ended(ws))[0], code)
            equal("what OnClose got", await ask("/closed", name=name), f"{code} {reason}")


@case("close by the end of the connection")
async def _():
    async with connect() as ws:
        await echoed(ws, "!name python gone", "named")
        ws.transport.abort()
        equal("what OnClose got", await ask("/closed", name="python gone"), "1006 ")


for code, reason in [(1000, ""), (1000, "bye"), (1001, "going"), (3000, "é" * 61), (4999, "x" * 123)]:

    @case(f"close of the server with {code} and {len(reason.encode())} bytes", code, reason)
    async def _(code, reason):
        async with connect() as ws:
            await ws.send(f"!close {code} {reason}")
            equal("code and reason", await ended(ws), (code, reason))


@case("close of the server behind many messages")
async def _():
    for n in (10, 20000):
        async with connect() as ws:
            await ws.send(f"!burst 50 {n}")
            for i in range(50):
                m = await ws.recv()
                equal("message", (len(m), m[:1]), (n, bytes([i])))
            equal("code and reason", await ended(ws), (1000, "that was all"))


@case("too large a message")
async def _():
    for compression in ("deflate", None):
        async with connect("/small", compression=compression) as ws:
            await echoed(ws, binary(1000))
            await ws.send(b"x" * 1001)
            equal("code", (await ended(ws))[0], 1009)


@case("subprotocol")
async def _():
    for offered, want in [
        (["echo.v1"], "echo.v1"),
        (["other", "echo.v2"], "echo.v2"),
        (["other"], None),
        (None, None),
    ]:
        async with connect(subprotocols=offered) as ws:
            equal(f"chosen of {offered}", ws.subprotocol, want)
            await echoed(ws, "hello")


@case("100 connections at once")
async def _():
    conns = await asyncio.gather(*(opened() for _ in range(100)))

    async def talk(i, ws):
        for n in (1, 100, 3000, 70000):
            await echoed(ws, f"{i} " * n)
        await ws.close(1000, "done")
        return await ended(ws)

    codes = await asyncio.gather(*(talk(i, ws) for i, ws in enumerate(conns)))
    equal("codes", {code for code, _ in codes}, {1000})


async def opened():
    return await connect()


async def main():
    for name, run in cases:
        error = None
        try:
            await asyncio.wait_for(run(), BOUND)
        except Exception as e:
            error = f"{type(e).__name__}: {e}"
        print(json.dumps({"case": name, "error": error}), flush=True)
    print(json.dumps({"done": len(cases)}), flush=True)


asyncio.run(main())
