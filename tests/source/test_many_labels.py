"""ENUMs of as many members as there can be: 65,535, of which servers take fewer in practice, by the length of the definition."""

from __future__ import annotations

import struct

import pytest

from engine.client.items import Change
from engine.record import CHANGES
from tests.fidelity.reading import read_files
from tests.servers.database import Database
from tests.source.decoding import AFTER, KIND, decode
from tests.source.made_binlog import MadeBinlog

TABLE_MAP, WRITE_ROWS, ENUM, STRING, LONG = 19, 30, 247, 254, 3


def edges(count: int) -> list[int]:
    return sorted({1, 2, 127, 128, 254, 255, 256, 257, 32_767, 32_768, count - 1, count} & set(range(1, count + 1)))


def lenenc(number: int) -> bytes:
    return bytes([number]) if number < 251 else b"\xfc" + number.to_bytes(2, "little")


def field(kind: int, value: bytes) -> bytes:
    return bytes([kind, 0xFD]) + len(value).to_bytes(3, "little") + value


def test_each_of_65535_labels_comes_as_itself() -> None:
    """What a TABLE_MAP with FULL metadata says of `id INT PRIMARY KEY, e ENUM(...)`."""
    labels = [f"l{n:x}" for n in range(65_535)]
    fields = field(1, b"\0") + field(10, lenenc(45)) + field(4, b"\x02id\x01e") + field(8, b"\0")
    fields += field(6, lenenc(len(labels)) + b"".join(bytes([len(label)]) + label.encode() for label in labels))
    made = MadeBinlog()
    made.gtid()
    made.query("BEGIN")
    names = b"\x04shop\0\x01t\0"
    made.add(TABLE_MAP, (90).to_bytes(6, "little") + b"\1\0" + names + bytes([2, LONG, STRING, 2, ENUM, 2, 2]) + fields)
    rows = b"".join(b"\0" + struct.pack("<iH", n, n) for n in edges(65_535))
    made.add(WRITE_ROWS, (90).to_bytes(6, "little") + struct.pack("<HH", 1, 2) + b"\x02\x03" + rows)
    made.xid()
    changes = [record for record in decode(bytes(made.data), ring_bytes=16 << 20) if record[KIND] in CHANGES]

    assert [change[AFTER] for change in changes] == [[n, labels[n - 1]] for n in edges(65_535)]


@pytest.mark.parametrize("definition", ["apart", "in the file"])
def test_each_label_of_a_large_enum_of_a_server_comes_as_itself(server: Database, unique_schema: str, definition: str) -> None:
    labels = [f"{n:x}" for n in range(3000)]
    quoted = ",".join(f"'{label}'" for label in labels)
    server.sql("FLUSH BINARY LOGS", f"CREATE TABLE {unique_schema}.t (id INT PRIMARY KEY, e ENUM({quoted}))")
    if definition == "apart":
        server.sql("FLUSH BINARY LOGS")
    values = ",".join(f"({n}, {n})" for n in edges(len(labels)))
    server.sql(f"INSERT INTO {unique_schema}.t VALUES {values}", "FLUSH BINARY LOGS")
    changes = [item for item in read_files(server.binlog_files()[-2:-1]) if isinstance(item, Change)]

    assert [change.after for change in changes] == [{"id": n, "e": labels[n - 1]} for n in edges(len(labels))]
