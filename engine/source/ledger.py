"""What a live source keeps in meta about the way it has come: its turns at servers, marks of binlog files, executed GTIDs.

    history 1: turn at server A ─ file marks ─ GTID sets at places ──┐ carried over by GTID
    history 2: turn at server B ─ ...                           ◀────┘

The executed set is the one that meta keeps for the last mark, and the entries that the decoder has counted since. Without GTIDs a
mark has the time instead.

Engines of a cluster that read one source, for destinations of their own, go to the next server each for itself, and agree on the
number of its history: the first makes it, under the condition that no other has, and who comes later joins, if it finds the same
binlog there. What each had executed when it began is kept for itself (`beginnings.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from engine.meta import Meta, SourceHistory
from engine.position import ORIGIN, Identity, split_file_name
from engine.source._binlog import Decoder
from engine.source.beginnings import beginning, time_mark, time_of_mark
from engine.source.connection import Connection
from engine.source.gtid_set import Gtids, MariadbGtids, MysqlGtids, pack_gtids, unpack_gtids
from engine.source.note import NotedGtids
from engine.source.resume import Reached
from engine.source.server_identity import GTID_LIST, PREVIOUS_GTIDS, FileHead, Turn, read_file_mark, server_name
from engine.source.start_position import files, latest

log = logging.getLogger("engine.source")

KEEP_NS = 1_000_000_000  # between two sets kept, while the source moves
PRUNE_NS = 60_000_000_000


class Ledger:
    """One source's. `at_server` says where the connection leads before the decoder asks for a number.

    least: see resume.least_reached. destinations: for which the source is read; in a cluster a history begins under their leases.
    """

    def __init__(self, meta: Meta, source: str, least: Callable[[], Reached | None], destinations: Iterable[str] = ()) -> None:
        self._meta = meta
        self._source = source
        self._least = least
        self._destinations = tuple(destinations)
        self.connection: Connection | None = None  # to the server in use
        self._left = 0  # the history before the turn
        self._decoder: Decoder | None = None
        self._base: Gtids | None = None  # the set at the mark
        self._kept_at = ORIGIN
        self._kept_ns = self._pruned_ns = 0
        self.due_ns = 0  # when to call turn_of_work again, at the latest
        self._head = FileHead()
        self._turn = Turn(1, "")
        self.number = 0
        self.gtids_count = True  # the server in use gives every transaction one
        self.estimated = False  # what was executed is known only as the least that it can be

    def attach(self, decoder: Decoder) -> None:
        self._decoder = decoder
        decoder.ledger = self

    # ---- turns ---------------------------------------------------------------------------------------------------

    def histories(self) -> dict[int, SourceHistory]:
        """Of this source, oldest first."""
        return {n: h for n, h in sorted(self._meta.histories().items()) if h.source == self._source}

    def turn(self, number: int) -> Turn | None:
        history = self._meta.histories().get(number)
        return history and Turn.unpack(history.identity)

    def go_on(self, number: int) -> None:
        """The history that is being read goes on at its server."""
        self.number = number
        self._turn = self.turn(number) or self._turn
        self._flag_again()

    def at_server(self, left: int, why: str = "", reason: str = "", by: str = "", again_until_us: int = 0) -> None:
        """What is read next is another history than `left` (0: than none), of the server in use; see Turn.

        What was `again` in the one before stays so.

        Raises:
            ConnectionLost, ServerSetupError, PositionError: the server can't be asked about its binlog.
        """
        assert self.connection is not None
        connection = self.connection
        end = latest(connection)
        mark = read_file_mark(connection, end.file)
        file = split_file_name(end.file)[1]
        self._turn = Turn(
            len(self.histories()) + 1, server_name(connection.known_facts), connection.where,
            datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), why, reason=reason, by=by,
            again_until_us=max(again_until_us, self._turn.again_until_us),
            file=file, mark=mark, settled_file=file, settled_start=end.offset,
        )  # fmt: skip
        self._left = left
        self._flag_again()
        self.number = 0
        self.estimated = False

    def _flag_again(self) -> None:
        if self._decoder is not None and self._turn.again_until_us:
            self._decoder.flag_again(self._turn.again_until_us)

    def adopt(self, number: int, server: str, where: str) -> None:
        """A history that was kept without identity is this server's."""
        history = self._meta.histories()[number]
        turn = Turn(number, server, where, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        self._meta.source_number(self._source, history.binlog, turn.pack())
        self._turn = turn

    def number_of(self, base: str) -> int:
        """For the decoder: the number of the history that it enters. A new base name on the same server is a new history."""
        history = self._meta.histories().get(self.number)
        if history is None or history.binlog != base:
            if history is not None:
                self.at_server(self.number, f"the binlog's name changed from {history.binlog}")
            executed = self.executed()
            self.number = self._agreed_number(base)
            if executed is not None:
                self._keep(executed, beginning(pack_gtids(executed)))
            else:
                self._keep_time()
        return self.number

    def _agreed_number(self, base: str) -> int:
        """Of the history that begins here: the number that another engine has given it, or a new one."""
        while True:
            newest, history = max(self.histories().items(), default=(0, None))
            turn = history and Turn.unpack(history.identity)
            joins = bool(history and turn and newest > self._left and history.binlog == base and self._is_here(newest, turn))
            if joins:
                assert history is not None
                assert turn is not None
                number = newest if self._join(newest, history.identity, turn) else 0
            else:
                number = self._meta.source_number(self._source, base, self._turn.pack(), newest, self._destinations)
            if number:
                log.info(
                    "source name=%s event=history number=%d server=%s joined=%s", self._source, number, self._turn.where,
                    "yes" if joins else "no",
                )  # fmt: skip
                return number

    def _is_here(self, number: int, turn: Turn) -> bool:
        """Whether this history is of the server where we are, and of the binlog that it has now."""
        ours = self._turn
        marks = self._meta.file_marks(number)
        if turn.mark:
            marks[turn.file] = turn.mark
        if (turn.server, turn.where) != (ours.server, ours.where) or not marks:
            return False
        newest = max(marks)
        if newest == ours.file:
            return marks[newest] == ours.mark
        assert self.connection is not None
        there = next((name for name, _ in files(self.connection) if split_file_name(name)[1] == newest), None)
        return there is not None and read_file_mark(self.connection, there) == marks[newest]

    def _join(self, number: int, was: str, turn: Turn) -> bool:
        """False: another engine has joined just now."""
        settled = max(turn.settled, self._turn.settled)
        joined = replace(
            turn, again_until_us=max(turn.again_until_us, self._turn.again_until_us),
            settled_file=settled[0], settled_start=settled[1],
        )  # fmt: skip
        if joined != turn and not self._meta.change_history(number, was, joined.pack(), self._destinations):
            return False
        self._turn = joined
        return True

    # ---- files ---------------------------------------------------------------------------------------------------

    def file_head(self, kind: int, header: bytes, body: bytes, file: int) -> None:
        """For the decoder: an event of a file's head."""
        mark = self._head.event(kind, header, body)
        if mark is not None:
            self._meta.keep_file_mark(self.number, file, mark)
        if kind in (PREVIOUS_GTIDS, GTID_LIST):
            assert self._decoder is not None
            if self._decoder.gtid_entries() is None and self.gtids_count:
                listed: Gtids = MysqlGtids.decode(body) if kind == PREVIOUS_GTIDS else MariadbGtids.decode(body)
                self._keep(listed, self._decoder.boundary)

    def file_mark(self, number: int, file: int) -> str | None:
        return self._meta.file_marks(number).get(file)

    def keep_file_mark(self, file: int, mark: str) -> None:
        self._meta.keep_file_mark(self.number, file, mark)

    # ---- executed ------------------------------------------------------------------------------------------------

    def restore(self, number: int, noted: NotedGtids | None) -> None:
        """What was executed, as the ring's note or a mark in meta has it."""
        assert self._decoder is not None
        if noted is None:
            return
        kept = dict(self._meta.gtid_sets(number))
        if noted.mark is not None and (noted.mark not in kept or time_of_mark(kept[noted.mark])):
            return  # meta was lost: not known
        empty: Gtids = MariadbGtids() if noted.mariadb else MysqlGtids()
        self._base = unpack_gtids(kept[noted.mark]) if noted.mark is not None else empty
        self._decoder.know_gtids(noted.mark, noted.mariadb, noted.entries)

    def correct(self, executed: Gtids | None, at: Identity) -> None:
        """What was executed before a place, instead of what was estimated; None: nobody knows."""
        self.estimated = False
        if executed is None:
            self.begin(None)
        else:
            self._keep(executed, at)

    def begin(self, executed: Gtids | None) -> None:
        """Known from elsewhere: what was executed where the source begins to read."""
        assert self._decoder is not None
        self._base = executed
        self._decoder.know_gtids(None, isinstance(executed, MariadbGtids), None if executed is None else [])

    def executed(self) -> Gtids | None:
        """Executed, as far as the decoder has come; None: not known."""
        assert self._decoder is not None
        entries = self._decoder.gtid_entries()
        if entries is None or self._base is None:
            return None
        if isinstance(self._base, MariadbGtids):
            newest = {int.from_bytes(owner[:4], "little"): (low, high) for owner, _, low, high in entries}
            return MariadbGtids(self._base.domains | newest)
        owners: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for owner, tag, low, high in entries:
            owners.setdefault((str(UUID(bytes=owner)), tag.decode()), []).append((low, high))
        return self._base.union(MysqlGtids(owners))

    def keep(self) -> None:
        """Take over what the decoder has counted."""
        assert self._decoder is not None
        executed = self.executed()
        if executed is not None and self.number:
            self._keep(executed, self._decoder.boundary)
        elif self.number:
            self._keep_time(self._decoder.boundary)

    def turn_of_work(self, now_ns: int) -> None:
        """Now and then while the source moves: keep how far it is, and forget what nobody needs."""
        assert self._decoder is not None
        if now_ns - self._kept_ns >= KEEP_NS and self._decoder.boundary != self._kept_at:
            self._kept_ns = now_ns
            self.keep()
        if now_ns - self._pruned_ns >= PRUNE_NS:
            self._pruned_ns = now_ns
            least = self._least()
            if least is not None:
                self._meta.prune_marks(*least)
        self.due_ns = min(self._kept_ns + KEEP_NS, self._pruned_ns + PRUNE_NS)

    def _keep_time(self, at: Identity | None = None) -> None:
        """Nobody knows by GTID what was executed: how late it is there is something to go by. at: None: a history begins."""
        assert self._decoder is not None
        if self._decoder.origin_us:
            mark = time_mark(self._decoder.origin_us)
            self._kept_at = at or beginning(mark)
            self._meta.keep_gtid_set(self.number, self._kept_at, mark)

    def _keep(self, executed: Gtids, at: Identity) -> None:
        assert self._decoder is not None
        self._meta.keep_gtid_set(self.number, at, pack_gtids(executed))
        self._base, self._kept_at = executed, at
        self._decoder.know_gtids(at, isinstance(executed, MariadbGtids), [])
