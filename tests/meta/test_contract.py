"""One contract, every meta manager."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from engine.errors import MetaError
from engine.instance import Instance
from engine.meta import Place, Presence, SourceHistory
from engine.meta.file import FileMeta
from engine.meta.memory import MemoryMeta
from engine.meta.open import open_meta
from engine.position import Identity
from tests.meta.metas import DESTINATIONS, Opening, cluster_at, take_lease

ZOOKEEPER = pytest.mark.zookeeper
SQLITE = pytest.mark.parametrize("kind", ["file", "memory"])
SPAWN = multiprocessing.get_context("spawn")
PLACE = Place("orders", "cache", 0, 1)


@pytest.fixture(params=["file", "memory", pytest.param("zookeeper", marks=ZOOKEEPER), pytest.param("mixed", marks=ZOOKEEPER)])
def kind(request):
    return request.param


@pytest.fixture
def instance(tmp_path):
    instance = Instance(tmp_path)
    yield instance
    for leftover in Path("/dev/shm").glob(f"{instance.prefix}*"):
        leftover.unlink()


@pytest.fixture
def opening(kind, instance, request):
    if kind in ("file", "memory"):
        return Opening(kind, instance.data_dir, None)
    opening = Opening(kind, instance.data_dir, cluster_at(request.getfixturevalue("shared_zookeeper").hosts))
    for destination in DESTINATIONS:
        take_lease(opening, destination)
    return opening


@pytest.fixture
def meta(opening):
    meta = opening.open()
    yield meta
    meta.close()


def test_a_history_keeps_its_number_and_no_other_gets_it(meta):
    assert meta.source_number("shop", "binlog") == 1
    assert meta.source_number("shop", "mysql-bin") == 2
    assert meta.source_number("archive", "binlog") == 3
    assert meta.source_number("shop", "binlog") == 1
    assert meta.histories() == {
        1: SourceHistory("shop", "binlog"),
        2: SourceHistory("shop", "mysql-bin"),
        3: SourceHistory("archive", "binlog"),
    }


def test_histories_of_other_servers_have_other_numbers(meta):
    assert meta.source_number("shop", "binlog", "one") == 1
    assert meta.source_number("shop", "binlog", "two") == 2
    assert meta.source_number("shop", "binlog", "one") == 1
    assert meta.source_number("shop", "binlog") == 2, "the newest, where nobody says which"
    assert meta.histories()[1] == SourceHistory("shop", "binlog", "one")


def test_a_history_without_identity_gets_the_first_it_is_asked_for_with(meta):
    assert meta.source_number("shop", "binlog") == 1
    assert meta.source_number("shop", "binlog", "one") == 1
    assert meta.source_number("shop", "binlog", "two") == 2
    assert meta.histories() == {1: SourceHistory("shop", "binlog", "one"), 2: SourceHistory("shop", "binlog", "two")}


def test_a_new_number_is_given_only_while_the_newest_is_the_one_that_the_caller_knows(meta):
    assert meta.source_number("shop", "binlog", "one", newest=0) == 1
    assert meta.source_number("shop", "binlog", "two", newest=0) == 0
    assert meta.source_number("shop", "binlog", "one", newest=0) == 1, "asked again after an answer that was lost"
    assert meta.source_number("archive", "binlog", "one", newest=0) == 2
    assert meta.source_number("shop", "binlog", "two", newest=1) == 3
    assert meta.source_number("shop", "mysql-bin", "three", newest=1) == 0
    assert sorted(meta.histories()) == [1, 2, 3]


def test_a_historys_identity_is_changed_only_from_what_it_was(meta):
    number = meta.source_number("shop", "binlog", "one")
    assert meta.change_history(number, "one", "two")
    assert not meta.change_history(number, "one", "three")
    assert not meta.change_history(number + 1, "one", "three")
    assert meta.histories() == {number: SourceHistory("shop", "binlog", "two")}


def test_gtid_sets_come_back_by_position_and_the_last_before_the_pruned_place_stays(meta):
    places = [Identity(1, 4, 0, 0), Identity(1, 5 << 32, 0, 0), Identity(2, 4, 0, 0), Identity(10, 4, 0, 0)]
    for n in (2, 0, 3, 1):
        meta.keep_gtid_set(1, places[n], f"0-1-{n}")
    meta.keep_gtid_set(1, places[0], "0-1-0,1-1-1")
    meta.keep_gtid_set(2, places[0], "another's")
    assert meta.gtid_sets(1) == [(places[0], "0-1-0,1-1-1"), *((places[n], f"0-1-{n}") for n in (1, 2, 3))]
    meta.prune_marks(1, Identity(2, 100, 3, 1))
    assert [place for place, _ in meta.gtid_sets(1)] == places[2:]
    meta.prune_marks(1, Identity(2, 100, 3, 1))
    assert [place for place, _ in meta.gtid_sets(1)] == places[2:]
    meta.prune_marks(1, Identity(1, 4, 0, 0))
    assert len(meta.gtid_sets(1)) == 2
    assert meta.gtid_sets(2) == [(places[0], "another's")]


def test_what_was_executed_at_a_beginning_is_never_pruned(meta):
    beginnings = [(Identity(0, 7, 0, 0), "0-1-1"), (Identity(0, 1 << 47, 0, 0), "0-1-2")]
    for place, text in beginnings:
        meta.keep_gtid_set(1, place, text)
    meta.prune_marks(1, Identity(1, 4, 0, 0))
    assert meta.gtid_sets(1) == beginnings
    for n in (1, 2):
        meta.keep_gtid_set(1, Identity(n, 4, 0, 0), f"0-1-{n}")
    meta.prune_marks(1, Identity(2, 100, 0, 0))
    assert meta.gtid_sets(1) == [*beginnings, (Identity(2, 4, 0, 0), "0-1-2")]


def test_file_marks_are_kept_by_number_until_they_are_pruned(meta):
    for file in (9, 10, 999_999, 1_000_000):
        meta.keep_file_mark(1, file, f"mark {file}")
    meta.keep_file_mark(1, 10, "another")
    meta.prune_marks(1, Identity(10, 4, 0, 0))
    assert meta.file_marks(1) == {10: "another", 999_999: "mark 999999", 1_000_000: "mark 1000000"}
    assert meta.file_marks(2) == {}


def test_a_table_version_keeps_its_key_and_its_schema(meta):
    assert meta.table_key(b"one") == 1
    assert meta.table_key(b"two") == 2
    assert meta.table_key(b"one") == 1
    assert meta.packed_schema(1) == b"one"
    assert meta.packed_schema(2) == b"two"


def test_an_unknown_key_has_no_schema(meta):
    assert meta.packed_schema(7) is None
    known = meta.table_key(b"one")
    assert meta.packed_schemas([7, known]) == {known: b"one"}


def test_acked_positions_come_back_by_destination(meta):
    other = Place("audit", "default", 3, 2)
    meta.ack({PLACE: Identity(12, 4096, 3, 1), other: Identity(1, 4, 1, 0)})
    assert meta.acked() == {PLACE: Identity(12, 4096, 3, 1), other: Identity(1, 4, 1, 0)}
    assert meta.acked("orders") == {PLACE: Identity(12, 4096, 3, 1)}
    assert meta.acked("nothing") == {}


@pytest.mark.parametrize("earlier", [(11, 9999, 9, 9), (12, 4095, 9, 9), (12, 4096, 2, 9), (12, 4096, 3, 0)])
def test_an_earlier_position_does_not_move_the_kept_one_back(meta, earlier):
    meta.ack({PLACE: Identity(12, 4096, 3, 1)})
    meta.ack({PLACE: Identity(*earlier)})
    assert meta.acked()[PLACE] == Identity(12, 4096, 3, 1)


def test_offsets_beyond_four_gib_and_files_past_six_digits_are_numbers(meta):
    meta.ack({PLACE: Identity(999_999, 5 << 32, 1, 0)})
    meta.ack({PLACE: Identity(1_000_000, 4, 1, 0)})
    assert meta.acked()[PLACE] == Identity(1_000_000, 4, 1, 0)


def test_acks_are_kept_all_or_none(meta):
    with pytest.raises(MetaError):
        meta.ack({PLACE: Identity(1, 4, 1, 0), Place("audit", "x", 0, 1): Identity(1, None, 1, 0)})
    assert meta.acked() == {}


def test_a_forgotten_consumer_has_no_positions_and_others_keep_theirs(meta):
    other_partition, stays = PLACE._replace(partition=1), PLACE._replace(consumer="default")
    meta.ack(dict.fromkeys((PLACE, other_partition, stays), Identity(1, 4, 1, 0)))
    meta.forget_consumer("orders", "cache")
    assert set(meta.acked()) == {stays}


def test_positions_are_replaced_also_backwards_for_all_consumers_named_and_for_no_other(meta):
    meta.ack({PLACE: Identity(5, 100, 1, 1), PLACE._replace(partition=1): Identity(5, 200, 1, 1)})
    meta.ack({PLACE._replace(consumer="other"): Identity(5, 100, 1, 1), PLACE._replace(consumer="gone"): Identity(5, 1, 1, 1)})
    moved = {(0, 1): Identity(2, 4, 0, 0), (1, 1): Identity(2, 4, 0, 0)}
    meta.replace_acked("orders", {"cache": moved, "gone": {}, "new": {(0, 1): Identity(2, 4, 0, 0)}})
    assert meta.acked("orders") == {
        PLACE: Identity(2, 4, 0, 0),
        PLACE._replace(partition=1): Identity(2, 4, 0, 0),
        PLACE._replace(consumer="other"): Identity(5, 100, 1, 1),
        PLACE._replace(consumer="new"): Identity(2, 4, 0, 0),
    }
    meta.ack({PLACE: Identity(3, 4, 1, 0)})
    assert meta.acked("orders")[PLACE] == Identity(3, 4, 1, 0)


def test_presence_is_kept_by_consumer_until_it_is_forgotten(meta):
    assert meta.presence("orders") == {}
    meta.keep_presence("orders", {"cache": Presence(12.5), "index": Presence(3600.0, 1_700_000_000.0)})
    meta.keep_presence("orders", {"cache": Presence(13.5)})
    assert meta.presence("orders") == {"cache": Presence(13.5), "index": Presence(3600.0, 1_700_000_000.0)}
    meta.keep_presence("orders", {"cache": None, "never": None})
    assert meta.presence("orders") == {"index": Presence(3600.0, 1_700_000_000.0)}
    assert meta.presence("stock") == {}


def test_the_earliest_first_position_is_kept(meta):
    assert meta.first_position(1) is None
    assert meta.first_position(1, Identity(1, 4, 0, 0)) == Identity(1, 4, 0, 0)
    assert meta.first_position(1, Identity(5, 4, 0, 0)) == Identity(1, 4, 0, 0)
    assert meta.first_position(1) == Identity(1, 4, 0, 0)
    assert meta.first_position(2) is None
    assert meta.first_position(2, Identity(2, 400, 0, 0)) == Identity(2, 400, 0, 0)
    assert meta.first_position(2, Identity(2, 300, 0, 0)) == Identity(2, 300, 0, 0)


def test_a_schema_history_comes_back_by_position_and_then_as_it_was_kept(meta):
    assert meta.history(1) == []
    meta.keep_history(1, Identity(2, 4, 1, 0), b"later")
    meta.keep_history(1, Identity(1, 5 << 32, 3, 0), b"first")
    meta.keep_history(1, Identity(2, 4, 1, 0), b"later still")
    meta.keep_history(2, Identity(1, 4, 1, 0), b"another source's")
    assert meta.history(1) == [
        (Identity(1, 5 << 32, 3, 0), b"first"),
        (Identity(2, 4, 1, 0), b"later"),
        (Identity(2, 4, 1, 0), b"later still"),
    ]


@SQLITE
def test_a_schema_history_is_found_again_also_in_a_file_from_before_there_was_one(opening, meta):
    meta.keep_history(1, Identity(1, 4, 1, 0), b"entry")
    again = opening.open()
    assert again.history(1) == [(Identity(1, 4, 1, 0), b"entry")]
    again._db.execute("DROP TABLE schema_history")
    again.close()
    older = opening.open()
    assert older.history(1) == []
    older.close()


def test_everything_is_found_again_by_another_opening(opening, meta):
    meta.source_number("shop", "binlog")
    meta.table_key(b"one")
    meta.ack({PLACE: Identity(1, 4, 1, 0)})
    meta.first_position(1, Identity(1, 4, 0, 0))
    again = opening.open()
    assert again.source_number("shop", "binlog") == 1
    assert again.packed_schema(1) == b"one"
    assert again.acked() == {PLACE: Identity(1, 4, 1, 0)}
    assert again.first_position(1) == Identity(1, 4, 0, 0)
    again.close()
    again.close()


def _allocate(opening, numbers, answers):
    meta = opening.open()
    answers.put({number: meta.table_key(b"%d" % number) for number in numbers})
    meta.close()


def test_processes_that_open_and_allocate_at_once_agree_on_every_key(opening):
    answers = SPAWN.Queue()
    orders = [range(200), range(199, -1, -1), range(100, 300)]
    processes = [SPAWN.Process(target=_allocate, args=(opening, order, answers)) for order in orders]
    for process in processes:
        process.start()
    given = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    merged = {}
    for keys in given:
        for number, key in keys.items():
            assert merged.setdefault(number, key) == key
    assert len(set(merged.values())) == len(merged) == 300


def _write_for_ever(opening, told):
    """What is kept for later outlives the process, too."""
    meta = opening.open()
    n = 0
    while True:
        n += 1
        key = meta.table_key(b"schema %d" % n, later=n % 2 == 0)
        meta.ack({PLACE: Identity(n, 4, 1, 0), PLACE._replace(partition=1): Identity(n, 4, 1, 0)})
        told.send((n, key))


@pytest.mark.parametrize("after", [1, 40, 170])
def test_a_writer_killed_in_the_middle_leaves_what_it_was_promised(opening, after):
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_write_for_ever, args=(opening, theirs))
    process.start()
    theirs.close()
    promised = {}
    while len(promised) < after:
        n, key = ours.recv()
        promised[n] = key
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while True:  # what it still said before it died counts too
        try:
            n, key = ours.recv()
        except EOFError:
            break
        promised[n] = key
    meta = opening.open()
    kept = meta.acked()
    assert kept[PLACE] == kept[PLACE._replace(partition=1)] >= Identity(max(promised), 4, 1, 0)
    for n, key in promised.items():
        assert meta.packed_schema(key) == b"schema %d" % n
    assert meta.table_key(b"a new one") not in promised.values()
    meta.close()


@pytest.mark.parametrize("kind", ["file", "memory", pytest.param("mixed", marks=ZOOKEEPER)])
def test_an_ack_takes_far_less_than_a_millisecond(meta):
    quickest = 1.0
    for n in range(1, 200):
        before = time.perf_counter()
        meta.ack({PLACE: Identity(n, 4, 1, 0)})
        quickest = min(quickest, time.perf_counter() - before)
    assert quickest < 0.001


def test_the_memory_kind_is_one_file_in_shared_memory_once_everybody_has_closed_it(instance):
    meta = open_meta("memory", instance)
    assert isinstance(meta, MemoryMeta)
    path = instance.meta_file("memory")
    assert str(path).startswith("/dev/shm/")
    assert path.exists()
    meta.close()
    assert list(path.parent.glob(f"{instance.prefix}*")) == [path]


def test_the_file_kind_lies_in_the_data_folder_which_it_makes(tmp_path):
    instance = Instance(tmp_path / "not" / "there")
    meta = open_meta("file", instance)
    assert isinstance(meta, FileMeta)
    assert instance.meta_file("file").exists()
    meta.close()
