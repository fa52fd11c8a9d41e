"""How the demo follows the stream, on a stream that isn't one."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from demo.origin import CLOSING_ORDER
from demo.run import Watch
from demo.show import Screen
from engine.schema import TableSchema


class Batch(list[Any]):
    acked = False

    def ack(self) -> None:
        self.acked = True


class Stream:
    """Hands out its batches, then nothing."""

    def __init__(self, *batches: Batch) -> None:
        self.batches = list(batches)

    def get(self, wait_ms: int) -> Batch | None:
        return self.batches.pop(0) if self.batches else None


COLUMNS = TableSchema("shop", "shop", "orders", ())


def insert(number: int) -> SimpleNamespace:
    after = {"id": number, "changed": "2026-01-02 03:04:05.000"}
    return SimpleNamespace(
        op="insert", table="orders", key=(number,), before=None, after=after, position="binlog.000001:4", columns=COLUMNS
    )


def watch() -> Watch:
    return Watch(Screen(Console(file=io.StringIO())), threading.Event())


def times(count: int) -> Iterator[bool]:
    yield from [False] * count
    yield True


def test_every_batch_is_counted_applied_and_acked() -> None:
    batches = [Batch([insert(7), insert(8)]), Batch([insert(9)])]
    watching = watch()
    turns = times(3)

    assert watching.until(Stream(*batches), lambda: next(turns), seconds=None)
    assert all(batch.acked for batch in batches)
    assert watching.screen.total == 3
    assert set(watching.replica.tables["orders"]) == {(7,), (8,), (9,)}


def test_the_closing_order_is_the_last_change() -> None:
    watching = watch()

    assert watching.until(Stream(Batch([insert(7)]), Batch([insert(CLOSING_ORDER)])), lambda: watching.closed, seconds=60)


def test_ctrl_c_ends_the_watch_but_not_the_catching_up() -> None:
    watching = watch()
    watching.ended.set()
    stream = Stream(Batch([insert(7)]), Batch([insert(CLOSING_ORDER)]))

    assert not watching.until(stream, lambda: False, seconds=None)
    assert watching.until(stream, lambda: watching.closed, seconds=60, even_if_ended=True)


def test_the_seconds_end_the_watch() -> None:
    assert not watch().until(Stream(), lambda: False, seconds=0)
