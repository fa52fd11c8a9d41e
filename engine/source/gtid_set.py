"""Which transactions were executed, as both servers write it: MySQL's GTID sets, tagged ones too, and MariaDB's GTID positions.

    MySQL    3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:blue:1-3,...      intervals for each pair of uuid and tag
    MariaDB  0-1-100,1-2-50                                               the last GTID of each domain

Binary layouts: PREVIOUS_GTIDS is MySQL's Gtid_set::encode (with tags: format 1 in the count's highest byte); GTID_LIST is
u32 count (4 flag bits) | u32 domain, u32 server, u64 number each, the last one of a domain being its newest.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Self
from uuid import UUID

from engine.errors import PositionError

_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_MARIADB_GTID = re.compile(r"(\d+)-(\d+)-(\d+)")
_MOST = (1 << 63) - 1

Owner = tuple[str, str]  # uuid, tag
Interval = tuple[int, int]  # first and last number


def _joined(intervals: list[Interval]) -> list[Interval]:
    """In order, without overlaps and without neighbours that touch."""
    out: list[Interval] = []
    for low, high in sorted(intervals):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


class MysqlGtids:
    """A GTID set of MySQL."""

    flavour = "mysql"

    def __init__(self, owners: dict[Owner, list[Interval]] | None = None) -> None:
        self.owners = {owner: _joined(intervals) for owner, intervals in (owners or {}).items() if intervals}

    @classmethod
    def parse(cls, text: str) -> Self:
        """`uuid:1-5:7:tag:1,...` with any white space; "" is the empty set.

        Raises:
            PositionError: not a GTID set.
        """
        owners: dict[Owner, list[Interval]] = {}
        for part in filter(None, "".join(text.split()).split(",")):
            head, *fields = part.lower().split(":")
            try:
                uuid, tag = str(UUID(head)), ""
                if not fields or _TAG.fullmatch(fields[-1]):
                    raise ValueError("no interval at its end")
                for field in fields:
                    if _TAG.fullmatch(field):
                        tag = field
                        continue
                    low, _, high = field.partition("-")
                    interval = (int(low), int(high or low))
                    if not 0 < interval[0] <= _MOST or interval[1] > _MOST:
                        raise ValueError(f"impossible interval {field}")
                    if interval[0] <= interval[1]:  # the servers take an empty one too
                        owners.setdefault((uuid, tag), []).append(interval)
            except ValueError as error:
                raise PositionError(
                    "not a GTID set of MySQL", gtid=part, error=error,
                    remedy="write gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100 as SELECT @@global.gtid_executed shows it",
                ) from None  # fmt: skip
        return cls(owners)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The body of PREVIOUS_GTIDS.

        Raises:
            PositionError: it is damaged.
        """
        owners: dict[Owner, list[Interval]] = {}
        try:
            (count,) = struct.unpack_from("<Q", body)
            tagged = count >> 56 == 1
            count = count >> 8 & 0xFFFFFFFFFFFF if tagged else count
            at = 8
            for _ in range(count):
                uuid, tag = str(UUID(bytes=body[at : at + 16])), ""
                at += 16
                if tagged:
                    length = body[at] >> 1
                    tag, at = body[at + 1 : at + 1 + length].decode("ascii"), at + 1 + length
                (intervals,) = struct.unpack_from("<Q", body, at)
                at += 8
                for _ in range(intervals):
                    low, after = struct.unpack_from("<QQ", body, at)
                    owners.setdefault((uuid, tag), []).append((low, after - 1))
                    at += 16
        except (struct.error, ValueError, IndexError):
            raise PositionError("a PREVIOUS_GTIDS event can't be read", bytes=len(body)) from None
        return cls(owners)

    def add(self, owner: Owner, low: int, high: int) -> None:
        self.owners[owner] = _joined([*self.owners.get(owner, ()), (low, high)])

    def union(self, other: MysqlGtids) -> MysqlGtids:
        owners = {owner: [*intervals] for owner, intervals in self.owners.items()}
        for owner, intervals in other.owners.items():
            owners.setdefault(owner, []).extend(intervals)
        return MysqlGtids(owners)

    def subtract(self, other: MysqlGtids) -> MysqlGtids:
        """What is in this set and not in the other."""
        left: dict[Owner, list[Interval]] = {}
        for owner, intervals in self.owners.items():
            holes = other.owners.get(owner, [])
            left[owner] = [piece for low, high in intervals for piece in _without(low, high, holes)]
        return MysqlGtids(left)

    def intersect(self, other: MysqlGtids) -> MysqlGtids:
        """What is in both."""
        return self.subtract(self.subtract(other))

    def contains(self, other: MysqlGtids) -> bool:
        return not other.subtract(self).owners

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MysqlGtids) and self.owners == other.owners

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        """As the server prints it, but in one line: uuids in order, the tags of one behind each other."""
        by_uuid: dict[str, str] = {}
        for (uuid, tag), intervals in sorted(self.owners.items()):
            numbers = "".join(f":{low}-{high}" if low != high else f":{low}" for low, high in intervals)
            by_uuid[uuid] = by_uuid.get(uuid, uuid) + (f":{tag}" if tag else "") + numbers
        return ",".join(by_uuid.values())


def _without(low: int, high: int, holes: list[Interval]) -> Iterator[Interval]:
    for first, last in holes:
        if last < low:
            continue
        if first > high:
            break
        if first > low:
            yield low, first - 1
        low = max(low, last + 1)
    if low <= high:
        yield low, high


class MariadbGtids:
    """A GTID position of MariaDB: in each domain everything up to its last GTID."""

    flavour = "mariadb"

    def __init__(self, domains: dict[int, tuple[int, int]] | None = None) -> None:
        self.domains = dict(domains or {})  # domain -> (server id, number)

    @classmethod
    def parse(cls, text: str) -> Self:
        """`0-1-100,1-2-50`; "" is the empty position.

        Raises:
            PositionError: not a GTID position.
        """
        domains: dict[int, tuple[int, int]] = {}
        for part in filter(None, "".join(text.split()).split(",")):
            found = _MARIADB_GTID.fullmatch(part)
            if found is None:
                raise PositionError(
                    "not a GTID position of MariaDB", gtid=text, remedy="write gtid:0-1-100 or gtid:0-1-100,1-2-50"
                )
            domains[int(found[1])] = (int(found[2]), int(found[3]))
        return cls(domains)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The body of GTID_LIST.

        Raises:
            PositionError: it is damaged.
        """
        try:
            count = struct.unpack_from("<I", body)[0] & 0x0FFFFFFF
            entries = [struct.unpack_from("<IIQ", body, 4 + 16 * i) for i in range(count)]
        except struct.error:
            raise PositionError("a GTID_LIST event can't be read", bytes=len(body)) from None
        return cls({domain: (server, number) for domain, server, number in entries})

    def union(self, other: MariadbGtids) -> MariadbGtids:
        """The further of both in each domain."""
        domains = dict(self.domains)
        for domain, (server, number) in other.domains.items():
            if domain not in domains or number > domains[domain][1]:
                domains[domain] = (server, number)
        return MariadbGtids(domains)

    def subtract(self, other: MariadbGtids) -> MariadbGtids:
        """The domains in which this position is ahead of the other."""
        return MariadbGtids({
            domain: gtid for domain, gtid in self.domains.items() if gtid[1] > other.domains.get(domain, (0, 0))[1]
        })  # fmt: skip

    def intersect(self, other: MariadbGtids) -> MariadbGtids:
        """The less far of both in each domain that both have."""
        common = self.domains.keys() & other.domains.keys()
        return MariadbGtids({d: min(self.domains[d], other.domains[d], key=lambda gtid: gtid[1]) for d in common})

    def contains(self, other: MariadbGtids) -> bool:
        return not other.subtract(self).domains

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MariadbGtids) and self.domains == other.domains

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return ",".join(f"{domain}-{server}-{number}" for domain, (server, number) in sorted(self.domains.items()))


Gtids = MysqlGtids | MariadbGtids


def parse_gtids(flavour: str, text: str) -> Gtids:
    """`mysql` or `mariadb`, as ServerFacts names it.

    Raises:
        PositionError: not a set of this flavour.
    """
    return MariadbGtids.parse(text) if flavour == "mariadb" else MysqlGtids.parse(text)


def pack_gtids(gtids: Gtids) -> str:
    """The set as text that says its flavour: an empty one is the flavour's name."""
    return str(gtids) or gtids.flavour


def unpack_gtids(text: str) -> Gtids:
    """What `pack_gtids` made; a GTID of MariaDB has no colon."""
    if text == MysqlGtids.flavour or ":" in text:
        return MysqlGtids.parse(text.removeprefix(MysqlGtids.flavour))
    return MariadbGtids.parse(text.removeprefix(MariadbGtids.flavour))
