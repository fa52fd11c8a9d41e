"""What a killed engine left in shared memory: gone on with if it is whole and nothing has changed, otherwise made anew."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config import Config
from engine.instance import Instance
from engine.meta import Place
from engine.meta.open import open_meta
from engine.position import Identity
from engine.record import Kind, pack_record
from engine.ring import Ring, ring_names, ring_path
from engine.shared_memory import SharedMemory

MIB = 1 << 20
RECORD = pack_record(Kind.HEARTBEAT, source=1, identity=Identity(1, 4, 0, 0), time_us=1)


class Engine:
    """The shared memory of an engine without processes: two destinations on one source, a third on another."""

    def __init__(self, tmp_path: Path) -> None:
        self.tables = {
            "server": {"data_dir": str(tmp_path)},
            "sources": {"shop": {"url": "mysql://u:secret@127.0.0.1", "ring": MIB}, "depot": {"files": ["x"], "ring": MIB}},
            "destinations": {
                "left": {"from": ["shop"], "store": {"size": MIB}},
                "right": {"from": ["shop"], "partitions": 2, "sinks": 2, "store": {"size": MIB}},
                "other": {"from": ["depot"], "store": {"size": MIB}},
            },
        }
        self.instance = Instance(tmp_path)
        self.shop, self.left = self.instance.source_ring("shop"), self.instance.store_ring("left", 0)
        self.other = self.instance.store_ring("other", 0)

    def next_run(self) -> SharedMemory:
        config = Config.model_validate(self.tables)
        memory = SharedMemory(config, self.instance)
        memory.open()
        memory.provide(config.destinations)
        memory.forget_leftovers(list(config.destinations), config.sources)
        return memory

    def ids(self) -> dict[str, int]:
        found = {}
        for name in ring_names(self.instance.prefix + "s"):
            ring = Ring.attach(name)
            found[name] = ring.ring_id
            ring.close()
        return found

    def fill(self, name: str) -> None:
        ring = Ring.attach(name)
        ring.open_writer()
        ring.try_put(RECORD)
        ring.close()


@pytest.fixture
def killed(tmp_path):
    """An engine that was killed: its rings are there, and its records in them."""
    engine = Engine(tmp_path)
    engine.next_run()
    engine.fill(engine.left)
    yield engine
    engine.next_run().remove_all()
    assert ring_names(engine.instance.prefix) == []


def test_what_is_whole_and_unchanged_is_gone_on_with(killed, caplog):
    before = killed.ids()
    killed.tables["sources"]["shop"] |= {"url": "mysql://u:changed@127.0.0.1", "read_timeout_s": 3}
    killed.tables["destinations"]["left"] |= {"batch_rows": 7}
    caplog.set_level(logging.INFO)
    killed.next_run()
    assert killed.ids() == before
    assert len(before) == 6
    assert caplog.text.count("is taken over as the killed engine left it") == 2
    ring = Ring.attach(killed.left)
    assert ring.put == len(RECORD)
    assert ring.readers() == ["default"]
    ring.close()


def test_no_password_is_written_to_the_record_of_rings(killed):
    assert "secret" not in killed.instance.rings_file.read_text()


def overwrite(name: str, offset: int, data: bytes) -> None:
    with open(ring_path(name), "r+b") as file:
        file.seek(offset)
        file.write(data)


def change_source(engine: Engine) -> None:
    engine.tables["sources"]["shop"]["ring"] = 2 * MIB


def point_source_elsewhere(engine: Engine) -> None:
    engine.tables["sources"]["shop"]["url"] = "mysql://u@127.0.0.2"


def change_filter(engine: Engine) -> None:
    engine.tables["destinations"]["left"]["include"] = ["a"]


def add_destination(engine: Engine) -> None:
    engine.tables["destinations"]["new"] = {"from": ["shop"], "store": {"size": MIB}}


def add_sink(engine: Engine) -> None:
    engine.tables["destinations"]["right"]["sinks"] = 1


def add_consumer(engine: Engine) -> None:
    engine.tables["destinations"]["left"]["consumers"] = ["default", "second"]


def learn_consumer(engine: Engine) -> None:
    meta = open_meta("file", engine.instance)
    meta.ack({Place("left", "third", 0, 1): Identity(1, 4, 0, 0)})
    meta.close()


def lose_record(engine: Engine) -> None:
    engine.instance.rings_file.unlink()


def tear_record(engine: Engine) -> None:
    engine.instance.rings_file.write_text(engine.instance.rings_file.read_text()[:40])


def edit_record(**fields: object) -> object:
    def edit(engine: Engine) -> None:
        record = json.loads(engine.instance.rings_file.read_text())
        engine.instance.rings_file.write_text(json.dumps(record | fields))

    return edit


def lose_store(engine: Engine) -> None:
    Ring.unlink(engine.left)


def put_another_in_place(engine: Engine) -> None:
    Ring.unlink(engine.left)
    ring = Ring.create(engine.left, MIB)
    ring.add_reader("default")
    ring.close()


def half_make(engine: Engine) -> None:
    overwrite(engine.left, 0, bytes(8))


def make_older(engine: Engine) -> None:
    overwrite(engine.left, 8, (999).to_bytes(4, "little"))


def cut_off(engine: Engine) -> None:
    os.truncate(ring_path(engine.left), 100_000)


def break_sequences(engine: Engine) -> None:
    overwrite(engine.left, 64, (1 << 40).to_bytes(8, "little"))


def fill_source_without_note(engine: Engine) -> None:
    engine.fill(engine.shop)


OBSTACLES = [
    (change_source, "sources.shop.ring was 1048576, is 2097152"),
    (point_source_elsewhere, "sources.shop.url was"),
    (change_filter, "destinations.left.include was"),
    (add_destination, "destinations.new is new"),
    (add_sink, "destinations.right.sinks was 2, is 1"),
    (add_consumer, "has no reader second"),
    (learn_consumer, "has no reader third"),
    (lose_record, "rings.json, which says what is whole, is not there"),
    (tear_record, "rings.json can't be read"),
    (edit_record(boot="another"), "the machine has been started anew since"),
    (edit_record(engine="0.0.1"), "another version of binlog-engine: 0.0.1"),
    (edit_record(version=99), "another version of binlog-engine"),
    (lose_store, "no such ring"),
    (put_another_in_place, "is another ring of the same name"),
    (half_make, "ring is incomplete"),
    (make_older, "differs=version found=999"),
    (cut_off, "differs=size"),
    (break_sequences, "is damaged"),
    (fill_source_without_note, "holds records, but not where they end"),
]


@pytest.mark.parametrize(("happen", "said"), OBSTACLES, ids=lambda value: getattr(value, "__name__", None))
def test_what_is_not_whole_or_no_longer_fits_is_made_anew_and_the_log_says_why(killed, caplog, happen, said):
    before = killed.ids()
    happen(killed)
    killed.next_run()
    after = killed.ids()
    assert said in caplog.text
    assert caplog.text.count("is not taken over") == (
        2 if "rings.json" in said or "version of" in said or "machine" in said else 1
    )
    joined = [name for name in before if "depot" not in name and "other" not in name]
    assert not {before[name] for name in joined} & set(after.values())
    if len(caplog.records) == 1:  # what has no source in common with it is gone on with
        assert after[killed.other] == before[killed.other]
    ring = Ring.attach(killed.left)
    assert ring.put == 0
    ring.close()


def test_a_destination_that_is_gone_no_longer_holds_the_ring_it_read_and_its_stores_are_removed(killed):
    before = killed.ids()
    del killed.tables["destinations"]["right"]
    killed.next_run()
    ring = Ring.attach(killed.shop)
    assert ring.readers() == ["left.0"]
    ring.close()
    assert killed.ids() == {name: ring_id for name, ring_id in before.items() if ".right." not in name}


def test_rings_of_a_process_that_still_runs_are_left_to_it(killed, caplog, monkeypatch):
    monkeypatch.setattr("engine.adoption.DYING_S", 0.1)
    code = (
        "import sys; from engine.ring import Ring; ring = Ring.attach(sys.argv[1]); ring.open_writer();"
        "print('writing', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, killed.left], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:  # fmt: skip
        assert writer.stdout.readline() == b"writing\n"
        before = killed.ids()
        killed.next_run()
        assert f"is still used by process {writer.pid}" in caplog.text
        assert killed.ids()[killed.left] != before[killed.left]
        writer.stdin.close()


def test_positions_in_shared_memory_outlive_a_killed_engine_unless_they_are_no_positions(tmp_path, caplog):
    engine = Engine(tmp_path)
    engine.tables["server"]["meta"] = "memory"
    engine.next_run()
    meta = open_meta("memory", engine.instance)
    meta.ack({Place("left", "default", 0, 1): Identity(1, 4, 0, 0)})
    meta.close()
    engine.next_run()
    meta = open_meta("memory", engine.instance)
    assert meta.acked("left")
    meta.close()
    assert caplog.text == ""
    engine.instance.meta_file("memory").write_bytes(b"no SQLite file, but as long as one has to be" * 100)
    memory = engine.next_run()
    assert "positions in shared memory are not taken over" in caplog.text
    meta = open_meta("memory", engine.instance)
    assert not meta.acked("left")
    meta.close()
    memory.remove_all()
    assert ring_names(engine.instance.prefix) == []
