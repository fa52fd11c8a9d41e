"""Every row of every type as the servers' own tools print it, against what the engine made of the same bytes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.client.change import Change
from tests.fidelity.binlog_text import row_differences, shown_rows
from tests.fidelity.column_types import GEOMETRIES
from tests.fidelity.generator import Generator
from tests.fidelity.model import Recording
from tests.fidelity.reading import read_files
from tests.fidelity.settings import SETTINGS, applied, newest_binlog, settings_of
from tests.fidelity.types_under import SCHEMA, readable_types, write_types
from tests.servers.missing import Missing

NOT_TAKEN_BACK = {"set with odd labels"}  # an empty label can't be told from none in "a,b"
COMPRESSED = {f"{name} compressed" for name in ("varchar", "varbinary", "text", "blob")}  # shown as the compressed bytes
NOT_SHOWN = {
    "mysql": {"geometry", "point", *GEOMETRIES},  # mysqlbinlog gives up on a GEOMETRY, and on the rest of its event
    "mariadb": COMPRESSED,
    "mariadb_next": COMPRESSED,
}
LEAST_ROWS = 3000
COMPARED = ("as docs/operations.md asks for", "row image MINIMAL", "transaction compression", "log_bin_compress")
CASES = [
    pytest.param(server, setting, id=f"{server}-{setting}".replace(" ", "_"), marks=getattr(pytest.mark, server))
    for server in ("mariadb", "mysql", "mariadb_next")
    for setting in settings_of(server)
    if setting in COMPARED and SETTINGS[setting].supported
]


class ServerConversion:
    """Text → bytes in a charset, as the server itself converts them."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.known: dict[tuple[str, str], bytes] = {}

    def __call__(self, charset: str, text: str) -> bytes:
        if charset in ("utf8mb4", "utf8mb3", "utf8"):
            return text.encode()
        if (charset, text) not in self.known:
            with self.connection.cursor() as cursor:
                cursor.execute(f"SELECT HEX(CONVERT(_utf8mb4 x'{text.encode().hex()}' USING {charset}))")
                self.known[charset, text] = bytes.fromhex(cursor.fetchone()[0])
        return self.known[charset, text]


@pytest.mark.parametrize(("server", "setting"), CASES)
def test_every_row_is_what_the_servers_own_tool_shows(written: Any, server: str, setting: str) -> None:
    database = written(server)
    left_out = NOT_TAKEN_BACK | NOT_SHOWN.get(server, set())
    with applied(database, SETTINGS[setting]):
        first = newest_binlog(database)
        recording = Recording(database)
        try:
            recording.run(*SETTINGS[setting].session)
            write_types(recording, {n: c for n, c in readable_types(server).items() if n not in left_out})
            for seed in range(8):
                generator = Generator(recording, server, f"shown_{seed}", seed)
                generator.types = {n: c for n, c in generator.types.items() if n not in left_out}
                generator.run(100)
                recording.run(f"DROP DATABASE shown_{seed}")
            recording.run(f"DROP DATABASE {SCHEMA}")
            files = [path for path in database.binlog_files() if path.name >= first.name]
            try:
                rows = list(shown_rows(database.binlog_text(*files)))
            except Missing as missing:
                pytest.skip(str(missing))
            convert = ServerConversion(recording.watcher)
            changes = (item for item in read_files(files) if isinstance(item, Change))
            mariadb = server != "mysql"
            pairs = zip(changes, rows, strict=True)
            found = [what for change, row in pairs for what in row_differences(change, row, convert, mariadb)]
        finally:
            recording.close()
    assert found == [], f"{len(found)} differences in {len(rows)} rows"
    assert len(rows) >= LEAST_ROWS
