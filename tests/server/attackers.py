"""Hostile peers of a server: `python -m tests.server.attackers PLAIN_PORT TLS_PORT SEED CONNECTIONS`, until standard input ends.

They come from 127.0.0.2 and up, so that a limit by address meets them and not the good consumer at 127.0.0.1. At the end
one line of JSON says how many connections of each kind have come to their end.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from engine.wire import Ack, Bye, Credit, Get, Heartbeat, Hello, Rollback, Status

MESSAGES = (
    Hello(1, "decoy", "evil"), Credit(2), Get(5), Ack(1), Rollback(1), Rollback(), Status(), Heartbeat(),
    Hello(1, "none", "evil"), Bye(),
)  # fmt: skip
TALK = [message.pack() for message in MESSAGES]
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


class Attackers:
    """Each kind runs over and over; `ended` counts by kind."""

    def __init__(self, plain: int, tls: int, seed: int) -> None:
        self.plain, self.tls = plain, tls
        self.chance = random.Random(seed)
        self.ended: Counter[str] = Counter()

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{self.chance.randrange(2, 12)}", 0))

    async def until_the_end(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(1 << 16):
            pass

    async def random_bytes(self) -> None:
        """Nothing of the protocol; with a length that may be anything."""
        reader, writer = await self.connect(self.plain)
        writer.write(self.chance.randbytes(self.chance.randrange(1, 2000)))
        writer.write_eof()
        await self.until_the_end(reader)
        writer.close()

    async def mutated_session(self) -> None:
        """A real conversation with some bytes changed, left out, doubled, or in another order."""
        reader, writer = await self.connect(self.plain)
        frames = [TALK[0], *self.chance.choices(TALK, k=12)]
        talk = bytearray(b"".join(frames))
        for _ in range(self.chance.randrange(4)):
            place = self.chance.randrange(len(talk))
            match self.chance.randrange(4):
                case 0:
                    talk[place] = self.chance.randrange(256)
                case 1:
                    del talk[place : place + self.chance.randrange(1, 9)]
                case 2:
                    talk[place:place] = talk[place : place + 20]
                case 3:
                    talk[place] ^= 1 << self.chance.randrange(8)
        writer.write(talk)
        writer.write_eof()
        await self.until_the_end(reader)
        writer.close()

    async def slow_reader(self) -> None:
        """Wants everything, and takes next to nothing of it."""
        reader, writer = await self.connect(self.plain)
        writer.write(Hello(1, "decoy", f"slow{self.chance.randrange(5)}").pack() + Credit(1000).pack())
        for _ in range(20):
            if not await reader.read(1):
                break
            await asyncio.sleep(0.5)
        writer.transport.abort()

    async def slow_writer(self) -> None:
        """A byte now and then."""
        reader, writer = await self.connect(self.plain)
        end = asyncio.ensure_future(self.until_the_end(reader))
        for byte in TALK[0] * 10:
            writer.write(bytes([byte]))
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(end), 0.3)
                break
        await end
        writer.close()

    async def asker(self) -> None:
        """Questions without a pause, none of the answers read."""
        reader, writer = await self.connect(self.plain)
        writer.write(Hello(1, "decoy", "asker").pack())
        await reader.read(100)
        writer.write(Status().pack() * 20_000)
        with suppress(TimeoutError):
            await asyncio.wait_for(writer.drain(), 2)
        writer.transport.abort()

    async def half_open_tls(self) -> None:
        reader, writer = await self.connect(self.tls)
        writer.write(TLS_HELLO[: self.chance.randrange(len(TLS_HELLO))])
        await self.until_the_end(reader)
        writer.close()

    async def silent(self) -> None:
        """A connection and no word, until the server ends it."""
        reader, writer = await self.connect(self.plain)
        await self.until_the_end(reader)
        writer.close()

    async def again_and_again(self, kind: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await kind()
                self.ended[kind.__name__] += 1
            except OSError:
                self.ended[kind.__name__ + "_cut"] += 1
                await asyncio.sleep(0.05)

    async def attack(self, connections: int) -> None:
        active = [self.random_bytes, self.mutated_session, self.slow_reader, self.slow_writer, self.asker, self.half_open_tls]
        crowd = [kind for kind in active for _ in range(4)] + [self.half_open_tls] * 100
        tasks = [asyncio.create_task(self.again_and_again(kind)) for kind in crowd]
        for number in range(connections):
            tasks.append(asyncio.create_task(self.again_and_again(self.silent)))
            if number % 100 == 99:
                await asyncio.sleep(0.02)  # the backlog of a listener is short
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()


def main() -> None:
    plain, tls, seed, connections = (int(text) for text in sys.argv[1:5])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if 0 <= hard < 10_000 else 10_000, hard))
    attackers = Attackers(plain, tls, seed)
    asyncio.run(attackers.attack(connections))
    print(json.dumps(attackers.ended), flush=True)


if __name__ == "__main__":
    main()
