"""A TCP proxy for tests: between two peers it cuts, stalls, drops, slows down, delays and corrupts, at a call.

    peer ─▶ Proxy.port ─▶ host:port of the real one         "down": from the real one to the peer; "up": the other way

`restore` ends whatever is on; what is cut stays cut. All calls are safe from any thread.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

PIECE_BYTES = 1 << 16
LOOK_S = 0.2  # how long a pump waits for a socket before it looks whether it is over
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST, what a dead machine or a firewall does


class _Link:
    """One connection through the proxy; the later of its two pumps closes it."""

    def __init__(self, peer: socket.socket, real: socket.socket) -> None:
        self.peer = peer
        self.real = real
        self.void = False  # bytes were dropped: nothing passes any more, and nobody is told
        self.ended = threading.Event()
        self.pumps = 2

    def end(self) -> None:
        """Reset both sides as soon as the pumps have let go, which this wakes."""
        self.ended.set()
        for end in (self.peer, self.real):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RD)  # tells the other side nothing


class Proxy:
    """`with Proxy(server.port) as proxy: ... f"mysql://repl@127.0.0.1:{proxy.port}" ...; proxy.cut()`.

    port: of `at`, ours. down_bytes, up_bytes: passed so far. links: connections taken so far.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", at: str = "127.0.0.1") -> None:
        self.target = (host, port)
        self._at = at
        self.down_bytes = 0
        self.up_bytes = 0
        self.links = 0
        self._changed = threading.Condition()
        self._live: list[_Link] = []
        self._stalled = self._dropping = self._closed = False
        self._delay_s = 0.0
        self._bytes_per_s: float | None = None
        self._cut_at: int | None = None  # in down_bytes
        self._corrupt_at: dict[int, int] = {}  # in down_bytes -> bits to turn
        self._listener: socket.socket | None = self._listen(0)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name=f"proxy {self.port}", daemon=True)
        self._thread.start()

    # ---- faults --------------------------------------------------------------------------------------------------

    def cut(self, *, after_bytes: int | None = None) -> None:
        """Reset every connection: now, or once so many more bytes have come down, to the byte."""
        with self._changed:
            if after_bytes is not None:
                self._cut_at = self.down_bytes + after_bytes
                return
            live, self._live = self._live, []
        for link in live:
            link.end()

    def stall(self) -> None:
        """Hold all bytes back, both ways; connections stay and new ones are taken. They pass after `restore`."""
        self._set(_stalled=True)

    def half_open(self) -> None:
        """Drop all bytes, both ways, without a word: a peer that lost its power. Such a connection never works again."""
        self._set(_dropping=True)

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        with self._changed:
            listener, self._listener = self._listener, None
            self._changed.notify_all()
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            listener.close()

    def delay(self, seconds: float) -> None:
        """Let each piece of bytes wait so long before it passes on."""
        self._set(_delay_s=seconds)

    def throttle(self, bytes_per_s: float) -> None:
        """Let at most so many bytes a second down each connection."""
        self._set(_bytes_per_s=bytes_per_s)

    def corrupt(self, *, after_bytes: int | None = None, mask: int = 0x20) -> int:
        """Turn bits of one byte that is to come down: the one after so many, otherwise up to 4096, by chance.

        Returns which one it is, in down_bytes.
        """
        with self._changed:
            at = self.down_bytes + (random.randrange(4096) if after_bytes is None else after_bytes)
            self._corrupt_at[at] = mask
        return at

    def restore(self) -> None:
        """End everything that is on, and take connections again."""
        with self._changed:
            self._stalled = self._dropping = False
            self._delay_s, self._bytes_per_s, self._cut_at = 0.0, None, None
            self._corrupt_at.clear()
            if self._listener is None:
                self._listener = self._listen(self.port)
            self._changed.notify_all()

    def aim(self, port: int, host: str = "127.0.0.1") -> None:
        """Lead new connections to another address."""
        self._set(target=(host, port))

    @property
    def open_links(self) -> int:
        with self._changed:
            return len(self._live)

    @property
    def corruptions_due(self) -> int:
        """Bytes that `corrupt` named and that have not come by yet."""
        with self._changed:
            return len(self._corrupt_at)

    def close(self) -> None:
        with self._changed:
            self._closed = True
        self.refuse()
        self.cut()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- the way of the bytes ------------------------------------------------------------------------------------

    def _set(self, **values: object) -> None:
        with self._changed:
            vars(self).update(values)
            self._changed.notify_all()

    def _listen(self, port: int) -> socket.socket:
        return socket.create_server((self._at, port), backlog=1024)

    def _accept(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._listener is not None or self._closed)
                listener = self._listener
            if listener is None:
                return
            try:
                peer, _ = listener.accept()
            except OSError:
                continue  # refuse closed it
            try:
                real = socket.create_connection(self.target, 5)
            except OSError:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                peer.close()
                continue
            for end in (peer, real):
                end.settimeout(LOOK_S)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(peer, real)
            with self._changed:
                self.links += 1
                self._live.append(link)
            for down in (False, True):
                threading.Thread(target=self._pump, args=(link, down), daemon=True).start()

    def _pump(self, link: _Link, down: bool) -> None:
        take, give = (link.real, link.peer) if down else (link.peer, link.real)
        try:
            while not link.ended.is_set():
                try:
                    data = take.recv(PIECE_BYTES)
                except TimeoutError:
                    continue
                if not data:
                    break
                passing, cut = self._treat(link, bytearray(data), down)
                self._give(link, give, passing, down)
                if cut:
                    self.cut()
            if not link.void and not link.ended.is_set():
                give.shutdown(socket.SHUT_WR)
        except OSError:
            if not link.void:
                link.end()
        finally:
            with self._changed:
                link.pumps -= 1
                if not link.pumps:
                    link.peer.close()
                    link.real.close()
                    with suppress(ValueError):
                        self._live.remove(link)

    def _treat(self, link: _Link, data: bytearray, down: bool) -> tuple[bytearray, bool]:
        """What passes of a piece, and whether the connections are cut behind it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._stalled or link.ended.is_set())
            if self._dropping or link.void:
                link.void = True
                return bytearray(), False
            cut = False
            if down:
                if self._cut_at is not None and self._cut_at <= self.down_bytes + len(data):
                    del data[self._cut_at - self.down_bytes :]
                    self._cut_at, cut = None, True
                for at in [at for at in self._corrupt_at if at < self.down_bytes + len(data)]:
                    data[at - self.down_bytes] ^= self._corrupt_at.pop(at)
                self.down_bytes += len(data)
            else:
                self.up_bytes += len(data)
            return data, cut

    def _give(self, link: _Link, give: socket.socket, data: bytearray, down: bool) -> None:
        """Send it, as late and as slowly as is set."""
        if self._delay_s and data:
            link.ended.wait(self._delay_s)
        while data and not link.ended.is_set():
            rate = self._bytes_per_s if down else None
            step = len(data) if rate is None else max(int(rate / 50), 1)
            began = time.monotonic()
            try:
                sent = give.send(data[:step])
            except TimeoutError:
                continue
            del data[:sent]
            if rate is not None:
                link.ended.wait(max(sent / rate - (time.monotonic() - began), 0))
