"""What sessions are told beside the records: schema records of table keys, and what source numbers stand for."""

from __future__ import annotations

import struct

from engine.errors import InternalError
from engine.meta import Meta
from engine.position import ORIGIN
from engine.record import HEAD_BYTES, Kind, pack_record

_LENGTH = struct.Struct(">I")
_LENGTH_AT = 2


class Catalogue:
    """Looks things up in meta once; what stands there never changes."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta
        self._records: dict[tuple[int, int], bytes] = {}

    def schema_record(self, table_key: int, source: int) -> bytes:
        """A whole schema record of this key, with this source number in its head.

        Raises:
            InternalError: meta doesn't know the key.
        """
        record = self._records.get((table_key, source))
        if record is None:
            packed = self._meta.packed_schema(table_key)
            if packed is None:
                raise InternalError("a record has a table key that meta doesn't know", table_key=table_key, source=source)
            empty = pack_record(Kind.SCHEMA, source=source, identity=ORIGIN, time_us=0, table=table_key)
            head = bytearray(empty[: HEAD_BYTES + 1])  # with the nil of `before`; the schema takes the place of `after`
            _LENGTH.pack_into(head, _LENGTH_AT, len(head) + len(packed))
            record = self._records[table_key, source] = bytes(head) + packed
        return record

    def sources(self, names: list[str]) -> dict[int, dict[str, str]]:
        """Source number → {"name", "binlog"} of all numbers that the sources of these names have by now."""
        return {
            number: {"name": history.source, "binlog": history.binlog}
            for number, history in self._meta.histories().items()
            if history.source in names
        }
