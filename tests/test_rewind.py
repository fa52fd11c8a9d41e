"""Going back in the stores of a running engine: new consumers and old ones, by place, GTID and time, and what is gone."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Refused
from engine.instance import Instance
from engine.ring import Ring
from tests.cli.test_position import executed, offset, position, read_all, shown
from tests.kills import is_alive
from tests.running_engine import RunningEngine
from tests.source.made_binlog import MadeBinlog
from tests.test_supervisor import binlog_files_of

MIB = 1 << 20


def kill_everything(engine: RunningEngine) -> None:
    """SIGKILL; the stages die with the supervisor."""
    pids = engine.pids()
    engine.kill()
    engine.process = None
    engine.wait_until(lambda: not any(is_alive(pid) for pid in pids))


def check(engine: RunningEngine, consumer: str, wanted: list[Any], start: str | None = None, column: str = "n") -> None:
    """This, in this order, and no more is what it gets; all acked. start: it is a new one that begins there."""
    found: list[Any] = []
    with engine.connect("numbers", consumer, start=start) as stream:
        while (batch := stream.get(wait_ms=20_000 if len(found) < len(wanted) else 50)) is not None:
            found += [change.after[column] for change in batch]
            batch.ack()
    assert found == wanted


def test_consumers_go_back_by_place_gtid_and_time_while_the_engine_runs_and_after_a_kill(server, unique_schema, tmp_path):
    table = f"{unique_schema}.numbers"
    server.sql(f"CREATE TABLE {table} (n INT PRIMARY KEY)")
    sources = {"shop": {"url": server.url(), "start": server.position()}}
    store = {"kind": "file", "size": "4MiB"}
    destination = {"include": [f"{unique_schema}\\.numbers"], "store": store, "consumers": ["default", "other"]}
    with RunningEngine(tmp_path, sources, {"numbers": destination}) as engine:
        wanted = {}
        for n in range(1, 41):
            if n == 21:
                server.sql(
                    "SELECT SLEEP(CEIL(UNIX_TIMESTAMP(NOW(6))) - UNIX_TIMESTAMP(NOW(6)) + 0.05)"
                )  # times are whole seconds
                wanted["time"] = server.sql("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%sZ')")[0][0]
                wanted["place"], wanted["gtid"] = server.position(), f"gtid:{executed(server)}"
            server.sql(f"INSERT INTO {table} VALUES ({n})")
        everything, half = list(range(1, 41)), list(range(21, 41))
        check(engine, "default", everything)
        check(engine, "other", everything)
        for kind, start in wanted.items():
            assert "default get what the store holds from" in position(engine, "set", "numbers", start, "--consumer", "default")
            check(engine, "default", half)
            check(engine, f"new-{kind}", half, start)
        position(engine, "set", "numbers", "oldest", "--consumer", "default")
        check(engine, "default", everything)
        position(engine, "set", "numbers", wanted["place"], "--consumer", "default")
        kill_everything(engine)
        engine.start()
        assert "is taken over as the killed engine left it" in engine.log
        check(engine, "default", half)
        for start in wanted.values():
            position(engine, "set", "numbers", start, "--consumer", "other")
            check(engine, "other", half)
        position(engine, "set", "numbers", "latest", "--consumer", "new-time")
        check(engine, "new-time", [])
        assert engine.observe()["sources"]["shop"]["rows"] == 40  # none was read again


ROW_BYTES = 3000


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A binlog file of 9 MB with transactions of one row, `id` from 0 on, and the rows' values."""
    made, random_bytes = MadeBinlog(), random.Random(4).randbytes
    values = [random_bytes(ROW_BYTES) for _ in range(3000)]
    for n, value in enumerate(values):
        made.transaction([(n, value)], n + 1)
    path = tmp_path_factory.mktemp("binlog") / "binlog.000001"
    path.write_bytes(made.data)
    return path, values


@pytest.fixture
def make_engine(tmp_path: Path, written: Any) -> Callable[..., RunningEngine]:
    """With a store of 1 MiB and a small source ring."""

    def make(*consumers: str, **store: str) -> RunningEngine:
        sources = {"shop": {"files": [str(written[0])], "ring": "1MiB"}}
        destination = {"store": {"kind": "file", "size": "1MiB", "sync": "batch", **store}, "consumers": list(consumers)}
        return RunningEngine(tmp_path / "engine", sources, {"numbers": destination})

    return make


def test_exactly_the_oldest_is_to_be_had_and_what_is_before_it_is_refused_with_what_there_is(make_engine) -> None:
    with make_engine("default", retain="1h") as engine:
        check(engine, "default", list(range(3000)), column="id")
        seen = engine.observe()
        store = seen["stores"]["numbers/0"]
        assert store["overwritten"]
        assert store["kept_bytes"] > MIB // 2
        assert not seen["healthy"]
        (complaint,) = seen["complaints"]
        assert complaint.startswith(f"the store of numbers/0 reaches back 0 s: retain=3600 oldest={store['oldest']} ")
        uuid, _, number = store["oldest_gtid"].rpartition(":")
        held = list(range(int(number) - 1, 3000))
        for start in (store["oldest"], f"gtid:{uuid}:1-{int(number) - 1}", "oldest"):
            position(engine, "set", "numbers", start)
            check(engine, "default", held, column="id")
        there = f"oldest={store['oldest']} oldest_time={store['oldest_time']} oldest_gtid={store['oldest_gtid']}"
        before = f"binlog.000001:{offset(store['oldest']) - ROW_BYTES - 1000}"  # that transaction is not held as a whole
        for start, said in ((before, there), (f"gtid:{uuid}:1-{int(number) - 2}", f"lacking={uuid}:{int(number) - 1} {there}")):
            refused = position(engine, "set", "numbers", start, code=1)
            assert "the store no longer holds this start" in refused
            assert said in refused
            with pytest.raises(Refused, match=said) as caught, engine.connect("numbers", "new", start=start):
                pass
            assert caught.value.reason == "unknown_start"
        check(engine, "default", [], column="id")
        assert set(engine.observe()["consumers"]) == {"numbers/default/0"}


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_nothing_is_missing_for_who_goes_back_again_and_again_while_old_records_are_overwritten(
    make_engine, written, kind
) -> None:
    values = written[1]
    with make_engine("default", "back", kind=kind) as engine:
        seen = {"default": -1, "back": -1}

        def take(stream: Any, consumer: str, wait_ms: int = 2000) -> bool:
            """A batch, acked; it goes on where the one before ended."""
            batch = stream.get(wait_ms=wait_ms, rows=100)
            for change in batch or ():
                n = change.after["id"]
                assert n == seen[consumer] + 1
                assert change.after["v"] == values[n]
                seen[consumer] = n
            if batch is not None:
                batch.ack()
                stream.flush()
            return batch is not None

        starts = []
        with engine.connect("numbers", "default") as default:
            for _ in range(10):
                position(engine, "set", "numbers", "oldest", "--consumer", "back")
                with engine.connect("numbers", "back") as back:
                    seen["back"] = next(iter(back.get(wait_ms=20_000, rows=1))).after["id"] - 1
                    back.rollback()
                    starts.append(seen["back"])
                    for _ in range(3):
                        take(default, "default", 100)
                        take(back, "back")
            with engine.connect("numbers", "back") as back:
                while min(seen.values()) < 2999:
                    take(default, "default", 100)
                    take(back, "back", 100)
        assert starts == sorted(starts)
        assert starts[-1] > 500


def test_a_command_that_moves_a_consumer_and_its_session_exclude_each_other(make_engine) -> None:
    with make_engine("default") as engine:
        ring = Ring.attach(Instance(engine.folder / "data").store_ring("numbers", 0))
        reader = ring.reader("default")
        reader.open()  # as the command does
        with pytest.raises(Refused, match="a command moves or drops this consumer") as caught, engine.connect("numbers"):
            pass
        assert caught.value.reason == "consumer_busy"
        reader.release()
        ring.close()
        with engine.connect("numbers") as stream:
            assert stream.get(wait_ms=5000) is not None
            assert "the consumer has a session" in position(engine, "set", "numbers", "oldest", code=1)


def test_a_move_in_the_stores_counts_also_when_they_are_lost_before_the_next_ack(tmp_path) -> None:
    sources = {
        "shop": {"files": binlog_files_of("mariadb-shop")["files"]},
        "depot": {"files": binlog_files_of("mysql-shop")["files"]},
    }
    with RunningEngine(tmp_path, sources, {"all": {"partitions": 2}}) as engine:
        everything = read_all(engine)
        at_the_end = shown(engine)
        places = sorted({place for place, _, _ in everything}, key=offset)
        middle = places[len(places) // 2]
        position(engine, "set", "all", middle, "--source", "shop")
        again = read_all(engine)
        position(engine, "set", "all", "latest")
        assert [row["position"] for row in shown(engine)] == [row["position"] for row in at_the_end]
        assert 0 < len(again) < len(everything)
        position(engine, "set", "all", middle, "--source", "shop")
        kill_everything(engine)
        for path in Path("/dev/shm").glob(Instance(engine.folder / "data").prefix + "*"):
            path.unlink()
        engine.start()
        assert sorted(read_all(engine)) == sorted(again)
