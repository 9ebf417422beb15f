"""A network that can fail: a TCP proxy between one process and one server."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from threading import Thread
from typing import Final

HOST: Final = "127.0.0.1"
CHUNK: Final = 65_536

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


class Weather(Enum):
    """What the network does to bytes."""

    FAIR = auto()
    STALLED = auto()
    """Nothing passes; what was sent arrives later, as TCP does it after a short break."""
    REFUSING = auto()
    """No connection is let through."""
    SLOW = auto()
    MUTE = auto()
    """Requests arrive, answers do not."""


class Proxy:
    """Listens on a port of the loopback and hands each connection on; change its weather from any thread."""

    def __init__(self, network: Network, port: int, connect: Connect) -> None:
        self.port = port
        self._network = network
        self._connect = connect
        self._weather = Weather.FAIR
        self._delay_s = 0.0
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self._open: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        """Let nothing through."""
        self._set(Weather.STALLED)

    def refuse(self) -> None:
        """Reset every connection and those to come."""
        self._set(Weather.REFUSING)
        self.reset()

    def slow(self, delay_s: float) -> None:
        """Hold each chunk back for so many seconds."""
        self._delay_s = delay_s
        self._set(Weather.SLOW)

    def mute(self) -> None:
        """Swallow the server's answers."""
        self._set(Weather.MUTE)

    def clear(self, *, reset: bool) -> None:
        """Fair weather again; with ``reset``, connections that lived through the bad one break."""
        if reset:
            self.reset()
        self._set(Weather.FAIR)

    def reset(self) -> None:
        """Break every open connection."""
        self._network.call(self._break_all)

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        self._open.add(back)
        server_writer: asyncio.StreamWriter | None = None
        try:
            await self._may_pass.wait()
            if self._weather is Weather.REFUSING:
                return
            server, server_writer = await self._connect()
            self._open.add(server_writer)
            there = asyncio.create_task(self._pump(client, server_writer, answers=False))
            here = asyncio.create_task(self._pump(server, back, answers=True))
            _, other = await asyncio.wait({there, here}, return_when=asyncio.FIRST_COMPLETED)
            for task in other:
                task.cancel()
        except OSError:
            pass  # the server is away: the client's connection breaks, below
        finally:
            for writer in (back, server_writer):
                if writer is not None:
                    self._open.discard(writer)
                    _break(writer)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await self._may_pass.wait()
                if self._weather is Weather.SLOW:
                    await asyncio.sleep(self._delay_s)
                if self._weather is Weather.MUTE and answers:
                    continue
                sink.write(data)
                await sink.drain()
            # An orderly end is passed on as one; it too waits for the weather.
            await self._may_pass.wait()
            sink.close()
            await sink.wait_closed()

    def _set(self, weather: Weather) -> None:
        def change() -> None:
            self._weather = weather
            if weather is Weather.STALLED:
                self._may_pass.clear()
            else:
                self._may_pass.set()

        self._network.call(change)

    def _break_all(self) -> None:
        for writer in list(self._open):
            _break(writer)


def _break(writer: asyncio.StreamWriter) -> None:
    """Close at once, with a reset where the other end still talks."""
    found = writer.get_extra_info("socket")
    if found is not None and found.family != socket.AF_UNIX:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Network:
    """The thread in which all proxies of a run live."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._servers: list[asyncio.Server] = []

    def call(self, change: Callable[[], None]) -> None:
        """Do it in the proxies' thread and wait until it is done."""

        async def do() -> None:
            change()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(10)

    def add(self, port: int, connect: Connect) -> Proxy:
        """A proxy that listens on ``port``."""

        async def start() -> Proxy:
            proxy = Proxy(self, port, connect)
            self._servers.append(await asyncio.start_server(proxy.serve, HOST, port))
            return proxy

        return asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Close every port and break every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        open_still = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_still:
            task.cancel()
        await asyncio.gather(*open_still, return_exceptions=True)


@contextmanager
def network() -> Iterator[Network]:
    """A network for the length of the block."""
    made = Network()
    made.start()
    try:
        yield made
    finally:
        made.stop()


def to_port(port: int) -> Connect:
    """Connects to a port of the loopback."""
    return lambda: asyncio.open_connection(HOST, port)


def to_socket(path: str) -> Connect:
    """Connects to a Unix socket."""
    return lambda: asyncio.open_unix_connection(path)
