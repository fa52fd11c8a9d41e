"""ENUMs of as many members as there can be: 65,535. MariaDB takes no 20,000, and MySQL looks at each pair for two minutes."""

from __future__ import annotations

import base64
import json
import shutil
import struct
from collections.abc import Callable
from typing import Any

import pytest

from engine.client.items import Change
from engine.counters import SourceCounter
from engine.record import CHANGES
from tests.fidelity.reading import read_files
from tests.servers.database import Database
from tests.source.decoding import AFTER, KIND, decode
from tests.source.made_binlog import MadeBinlog
from tests.source.stepped_engine import live

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


def made_of(server: Database, labels: list[str]) -> None:
    """Table stage_labels.t (id INT, e ENUM(labels)), which the server takes in without comparing each label with each.

    IMPORT TABLE reads a MyISAM table's definition from a file, here that of a smaller table with other labels.
    """
    few = ",".join(f"'few {n}'" for n in range(256))  # whose numbers take two bytes, too
    server.sql("CREATE DATABASE stage_labels", f"CREATE TABLE stage_labels.t (id INT PRIMARY KEY, e ENUM({few})) ENGINE=MyISAM",
               "FLUSH TABLES")  # fmt: skip
    folder = server.data_dir / "stage_labels"
    [described] = folder.glob("t_*.sdi")
    table = json.loads(described.read_text())
    [column] = [column for column in table["dd_object"]["columns"] if column["name"] == "e"]
    column["elements"] = [{"name": base64.b64encode(x.encode()).decode(), "index": n} for n, x in enumerate(labels, 1)]
    column["column_type_utf8"] = "enum(" + ",".join(f"'{label}'" for label in labels) + ")"
    for name in ("t.MYD", "t.MYI"):
        shutil.copy(folder / name, server.data_dir / name)
    server.sql("DROP TABLE stage_labels.t")
    for name in ("t.MYD", "t.MYI"):
        shutil.move(server.data_dir / name, folder / name)
    (server.data_dir / "large.sdi").write_text(json.dumps(table))
    server.sql("USE stage_labels", f"IMPORT TABLE FROM '{server.data_dir / 'large.sdi'}'")


@pytest.mark.parametrize("metadata", ["FULL", "MINIMAL"])
def test_each_label_of_an_enum_of_65535_of_a_server_comes_as_itself(
    make_mysql: Callable[..., Database], make_engine: Any, metadata: str
) -> None:
    """FULL: as the TABLE_MAP tells them. MINIMAL: as the server shows them when it is asked."""
    server = make_mysql(secure_file_priv="", binlog_row_metadata=metadata)
    labels = [f"{n:x}" for n in range(65_535)]
    made_of(server, labels)
    engine = make_engine(live(server))
    engine.start()
    engine.until(lambda: engine.counter(SourceCounter.CONNECTED))
    server.sql("INSERT INTO stage_labels.t VALUES " + ",".join(f"({n}, {n})" for n in edges(len(labels))))
    engine.until(lambda: len(engine.changes()) == len(edges(len(labels))))

    assert [change[AFTER] for change in engine.changes()] == [[n, labels[n - 1]] for n in edges(len(labels))]
