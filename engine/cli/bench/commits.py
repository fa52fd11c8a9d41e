"""The writer of `bench latency`: one process that commits on several connections by a schedule, and notes when.

due ──▶ an idle connection ── INSERT, autocommit ──▶ server      at 5,000 a second, one falls due each 200 µs
confirmed ◀── OK ──┘                                             whether the ones before are answered or not
"""

from __future__ import annotations

import select
import socket
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engine.cli.bench.engine_run import START_S
from engine.errors import EngineError

_ANSWER_BYTES = 4096  # an OK packet has some ten
_PAUSE_NS = 100_000_000  # after the warm-up


class Times(NamedTuple):
    """CLOCK_MONOTONIC in ns, by the transaction's number: when it should have been sent, was, and was answered."""

    due: array[int]
    sent: array[int]
    confirmed: array[int]


def commit_all(
    account: dict[str, Any],
    table: str,
    connections: int,
    rate: int,
    warm_up: int,
    transactions: int,
    path: str,
    told: Any,
    go: Any,
) -> None:
    """Commit each transaction when it is due, or as soon after as a connection is idle; the times go to the file.

    warm_up: so many come first, on a schedule of their own: what the server is late with then, the others don't inherit.
    The statements are packets before it begins, and of the answers it looks at no more than it must: what it takes of the
    processors, the server and the engine don't have.
    """
    opened = [_connected_cheaply(account) for _ in range(connections)]
    packets = [
        _query_packet(f"INSERT INTO {table} VALUES ({number}, 'the row of transaction {number}')")
        for number in range(transactions)
    ]
    told.put("ready")
    begin_ns = go.get(timeout=START_S)
    times = Times(*(array("q", bytes(8 * transactions)) for _ in Times._fields))
    for first, last in ((0, warm_up), (warm_up, transactions)):
        for number in range(first, last):
            times.due[number] = begin_ns + round((number - first) * 1e9 / rate)
        _keep_to_schedule([connection._sock for connection in opened], packets, times, first, last)
        begin_ns = time.monotonic_ns() + _PAUSE_NS
    with Path(path).open("wb") as file:
        for column in times:
            column.tofile(file)
    for connection in opened:
        connection.close()


def read_times(path: Path, transactions: int) -> Times:
    """What `commit_all` has written."""
    times = Times(array("q"), array("q"), array("q"))
    with path.open("rb") as file:
        for column in times:
            column.fromfile(file, transactions)
    return times


def _keep_to_schedule(sockets: list[socket.socket], packets: list[bytes], times: Times, number: int, last: int) -> None:
    """Those of the transactions from `number` to before `last`."""
    clock = time.monotonic_ns
    due, sent, confirmed = times
    idle, busy = list(sockets), dict[socket.socket, int]()
    while number < last or busy:
        left = due[number] - clock() if number < last and idle else -1
        if number < last and idle and left <= 0:
            sock = idle.pop()
            busy[sock] = number
            sent[number] = clock()
            sock.sendall(packets[number])
            number += 1
            continue
        for sock in _answering(busy, left / 1e9 if left > 0 else None):
            answer = sock.recv(_ANSWER_BYTES)
            confirmed[busy.pop(sock)] = clock()
            idle.append(sock)
            if not _is_ok(answer):
                raise EngineError("bench: an INSERT was not done", answer=repr(answer[:200]))


def _answering(busy: dict[socket.socket, int], timeout_s: float | None) -> Iterator[socket.socket]:
    """Connections to receive from, within the time if there is one; the fewer system calls, the less is taken from the others."""
    if not busy:
        time.sleep(timeout_s or 0)
        return iter(())
    if timeout_s is None and len(busy) == 1:
        return iter(list(busy))
    return iter(select.select(busy, (), (), timeout_s)[0])


def connected(account: dict[str, Any]) -> Any:
    """A connection that commits each statement.

    Raises:
        EngineError: there is none to be had.
    """
    import pymysql

    try:
        return pymysql.connect(**account, autocommit=True)
    except pymysql.err.OperationalError as error:
        raise EngineError("bench: the account can't connect", error=error, host=account["host"], port=account["port"]) from None


def _connected_cheaply(account: dict[str, Any]) -> Any:
    try:  # what TLS takes, the server and the engine don't have
        return connected({**account, "ssl_disabled": True})
    except (EngineError, RuntimeError):  # the account needs it, or PyMySQL does for its password
        return connected(account)


def _query_packet(statement: str) -> bytes:
    """COM_QUERY: 3 bytes of length, a sequence number, 0x03, the statement."""
    payload = b"\x03" + statement.encode()
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def _is_ok(answer: bytes) -> bool:
    """One whole OK packet, and nothing else."""
    return len(answer) > 4 and len(answer) - 4 == int.from_bytes(answer[:3], "little") and answer[4] == 0
