"""The server is asked without anybody having to wait for meta."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from engine.meta.file import FileMeta
from engine.position import Identity
from engine.source.history.definition import ColumnDefinition, TableDefinition
from engine.source.history.history import ASKED_ALONE, Moment, SchemaHistory
from engine.source.history.snapshot import Answer

TABLE = TableDefinition((ColumnDefinition("id", "bigint"),))


class SlowServer:
    """While it is asked, another process writes to meta."""

    case_sensitive = True

    def __init__(self, names: list[tuple[str, str]], write: Path) -> None:
        self.names, self.write, self.asked = names, write, 0

    def read(self, names: tuple[str, ...] = (), wants: object = None) -> Answer:
        with closing(FileMeta(self.write)) as other:
            self.asked += 1
            other.keep_file_mark(1, self.asked, "seen")
        return Answer({name: TABLE for name in self.names if name[: len(names)] == names}, {}, ("binlog", 1, 4))


def test_other_processes_may_write_to_meta_while_the_server_is_asked_and_what_it_answers_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "meta.sqlite"
    tables = [("shop", f"orders_{i}") for i in range(3 * ASKED_ALONE)]
    with closing(FileMeta(path)) as meta:
        history = SchemaHistory(meta, SlowServer(tables, path))
        for i, name in enumerate(tables):
            moment = Moment(1, "binlog", Identity(1, 100 * (i + 1), 1, 0))
            assert history.definition(name, moment) is None
            assert history.ask(name, moment) == TABLE
            history.believe(name, TABLE, moment)
        meta.sync()
        assert len(meta.history(1)) == len(tables)
        assert len(meta.file_marks(1)) == ASKED_ALONE + 1, "each of the first alone, then all others at once"
