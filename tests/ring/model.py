"""The ring in plain Python, without memory, processes or time: the oracle of its tests."""

from __future__ import annotations

from dataclasses import dataclass, field

FULL = -1
READERS = 32


class Misuse(Exception):
    """Where the ring raises RingError."""


@dataclass
class Notes:
    """A note counts once its sequence has reached `at`; at most one waits."""

    valid: bytes | None = None
    waiting: tuple[int, bytes] | None = None

    def write(self, now: int, at: int, note: bytes) -> None:
        self.waiting = (at, note)
        self.reach(now)

    def reach(self, now: int) -> None:
        if self.waiting and self.waiting[0] <= now:
            self.valid, self.waiting = self.waiting[1], None


@dataclass
class Reader:
    ring: Ring
    name: str
    get: int
    ack: int
    notes: Notes = field(default_factory=Notes)

    def open(self) -> None:
        self.get = self.ack
        self.notes.waiting = None

    def view(self, max_bytes: int = 0, from_: int | None = None) -> bytes:
        start = self.get if from_ is None else from_
        if not self.ack <= start <= self.ring.put:
            raise Misuse
        found = b""
        for at, record in self.ring.records:
            if start <= at < self.ring.put:
                if max_bytes and found and len(found) + len(record) > max_bytes:
                    break
                found += record
        return found

    def advance(self, n_bytes: int) -> None:
        if n_bytes > self.ring.put - self.get:
            raise Misuse
        self.get += n_bytes

    def ack_to(self, sequence: int) -> int:
        if sequence > self.get:
            raise Misuse
        self.ack = max(self.ack, sequence)
        self.notes.reach(self.ack)
        return self.ack

    def rollback(self, sequence: int | None = None) -> None:
        to = self.ack if sequence is None else sequence
        if not self.ack <= to <= self.get:
            raise Misuse
        self.get = to


class Ring:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.max_record = capacity // 4
        self.put = self.claimed = self.tail = self.floor = 0
        self.limit = capacity
        self.records: list[tuple[int, bytes]] = []
        self.readers: dict[str, Reader] = {}
        self.notes = Notes()

    def slowest_ack(self) -> int:
        return min((reader.ack for reader in self.readers.values()), default=self.tail)

    def refresh_limit(self, n: int = 0) -> None:
        """Takes of what all have acked what n bytes, or a quarter of the ring, need."""
        self.tail = max(self.tail, self.slowest_ack())
        wanted = self.claimed + max(n, self.capacity // 4) - self.capacity
        self.floor = max(self.floor, min(self.slowest_ack(), wanted))
        self.limit = min(self.floor, self.slowest_ack()) + self.capacity

    def open_writer(self) -> None:
        self.claimed = self.put
        self.records = [(at, record) for at, record in self.records if at < self.put]
        self.notes.waiting = None
        self.refresh_limit()

    def try_claim(self, record: bytes) -> int:
        if len(record) > self.max_record:
            raise Misuse
        if self.claimed + len(record) > self.limit:
            self.refresh_limit(len(record))
        if self.claimed + len(record) > self.limit:
            return FULL
        self.records.append((self.claimed, record))
        self.claimed += len(record)
        return self.claimed

    def publish(self) -> int:
        self.put = self.claimed
        self.notes.reach(self.put)
        return self.put

    def try_put(self, record: bytes) -> int:
        return FULL if self.try_claim(record) == FULL else self.publish()

    def set_note(self, note: bytes) -> None:
        self.notes.write(self.put, self.claimed, note)

    def add_reader(self, name: str, latest: bool) -> Reader:
        if name in self.readers or len(self.readers) == READERS:
            raise Misuse
        start = self.put if latest else self.tail
        self.readers[name] = Reader(self, name, start, start)
        return self.readers[name]

    def drop_reader(self, name: str) -> None:
        if name not in self.readers:
            raise Misuse
        self.tail = max(self.tail, self.slowest_ack())
        del self.readers[name]
