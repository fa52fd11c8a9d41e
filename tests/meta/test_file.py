"""What can be wrong with the file: each fault is one line that names the file and the remedy."""

import sqlite3

import pytest

from engine.errors import MetaError, MetaFull
from engine.meta import Place
from engine.meta.file import MAX_SOURCE_NUMBER, MAX_TABLE_KEY, FileMeta
from engine.position import Identity


@pytest.fixture
def path(tmp_path):
    return tmp_path / "meta.sqlite"


def refusal(path):
    with pytest.raises(MetaError) as caught:
        FileMeta(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert "—" in message
    return message


def test_a_file_of_another_version_is_refused_by_number(path):
    FileMeta(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert "found=99 known=2" in refusal(path)


def test_a_file_of_the_first_version_is_carried_over_with_all_it_holds(path):
    FileMeta(path).close()
    db = sqlite3.connect(path)
    db.executescript("""
        DROP TABLE source_number; DROP TABLE gtid_set; DROP TABLE file_mark;
        CREATE TABLE source_number (
            number INTEGER PRIMARY KEY, source TEXT NOT NULL, binlog TEXT NOT NULL, UNIQUE (source, binlog)) STRICT;
        INSERT INTO source_number VALUES (1, 'shop', 'binlog'), (3, 'shop', 'mysql-bin');
        PRAGMA user_version = 1;
    """)
    db.close()
    meta = FileMeta(path)
    assert meta.source_number("shop", "binlog", "one") == 1
    assert meta.source_number("shop", "mysql-bin") == 3
    assert meta.source_number("shop", "binlog", "two") == 4
    meta.close()


def test_a_foreign_database_is_refused_and_not_touched(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    before = path.read_bytes()
    assert "not meta of binlog-engine" in refusal(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"this is not SQLite at all. " * 400)
    assert "damaged" in refusal(path)


def test_a_damaged_file_is_refused(path):
    meta = FileMeta(path)
    for n in range(200):
        meta.table_key(b"schema %d " % n * 20)
    meta.close()
    content = bytearray(path.read_bytes())
    content[8192:16384] = b"\xa5" * 8192
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_a_truncated_file_is_refused(path):
    meta = FileMeta(path)
    for n in range(200):
        meta.table_key(b"schema %d " % n * 20)
    meta.close()
    path.write_bytes(path.read_bytes()[:12288])
    assert "damaged" in refusal(path)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "data").write_text("")
    assert "folder can't be used" in refusal(tmp_path / "data" / "meta.sqlite")


def test_a_folder_that_takes_no_files_is_refused(path):
    path.mkdir()
    assert "can't be read or written" in refusal(path)


def test_a_file_that_cannot_be_written_is_known_at_opening(path, monkeypatch):
    FileMeta(path).close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda p, **options: connect(f"file:{p}?mode=ro", uri=True, **options))
    assert "SQLITE_READONLY" in refusal(path)


def test_an_empty_file_becomes_meta(path):
    path.touch()
    meta = FileMeta(path)
    assert meta.source_number("shop", "binlog") == 1
    meta.close()


def test_numbers_do_not_outgrow_the_record_field(path):
    meta = FileMeta(path)
    db = sqlite3.connect(path)
    db.execute("INSERT INTO source_number VALUES (?, 'last', 'binlog', '')", (MAX_SOURCE_NUMBER,))
    db.commit()
    db.close()
    with pytest.raises(MetaError, match="no more source numbers"):
        meta.source_number("one too many", "binlog")
    assert len(meta.histories()) == 1
    meta.close()


def test_keys_of_later_do_not_outgrow_the_record_field(path):
    meta = FileMeta(path)
    db = sqlite3.connect(path)
    db.execute("INSERT INTO table_key VALUES (?, x'01', x'02')", (MAX_TABLE_KEY - 1,))
    db.commit()
    db.close()
    assert meta.table_key(b"the last one", later=True) == MAX_TABLE_KEY
    with pytest.raises(MetaError, match="no more table keys"):
        meta.table_key(b"one too many", later=True)
    meta.close()


def test_a_closed_meta_says_so(path):
    meta = FileMeta(path)
    meta.close()
    with pytest.raises(MetaError, match="closed"):
        meta.ack({Place("orders", "default", 0, 1): Identity(1, 4, 1, 0)})


def test_when_a_part_of_what_is_kept_together_fails_nothing_of_it_is_kept_then_or_later(path):
    meta = FileMeta(path)
    pages = meta._db.execute("PRAGMA page_count").fetchone()[0]
    meta._db.execute(f"PRAGMA max_page_count = {pages + 4}")  # a disk that is full soon
    meta.table_key(b"a small schema", later=True)
    meta.table_key(bytes(1 << 20), later=True)
    with pytest.raises(MetaFull) as first:
        meta.sync()
    for call in (meta.sync, lambda: meta.table_key(b"a third", later=True), lambda: meta.ack({})):
        with pytest.raises(MetaFull) as again:
            call()
        assert again.value is first.value
    other = FileMeta(path)
    assert other.packed_schema(1) is None
    assert other.table_key(b"another schema") == 1, "nobody has to wait for the one that failed"
    meta.close()
    other.close()
