"""What a live source keeps in meta about the way it has come: its turns at servers, marks of binlog files, executed GTIDs.

    history 1: turn at server A ─ file marks ─ GTID sets at places ──┐ carried over by GTID
    history 2: turn at server B ─ ...                           ◀────┘

The executed set is the one that meta keeps for the last mark, and the entries that the decoder has counted since. Without GTIDs a
mark has the time instead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from engine.meta import Meta, SourceHistory
from engine.position import ORIGIN, Identity
from engine.source._binlog import Decoder
from engine.source.gtid_set import Gtids, MariadbGtids, MysqlGtids, pack_gtids, unpack_gtids
from engine.source.note import NotedGtids
from engine.source.resume import Reached, time_mark, time_of_mark
from engine.source.server_identity import GTID_LIST, PREVIOUS_GTIDS, FileHead, Turn

KEEP_NS = 1_000_000_000  # between two sets kept, while the source moves
PRUNE_NS = 60_000_000_000


class Ledger:
    """One source's. `at_server` says where the connection leads before the decoder asks for a number."""

    def __init__(self, meta: Meta, source: str, least: Callable[[], Reached | None]) -> None:
        self._meta = meta
        self._source = source
        self._least = least
        self._decoder: Decoder | None = None
        self._base: Gtids | None = None  # the set at the mark
        self._kept_at = ORIGIN
        self._kept_ns = self._pruned_ns = 0
        self._head = FileHead()
        self._turn = Turn(1, "")
        self.number = 0
        self.gtids_count = True  # the server in use gives every transaction one

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

    def at_server(self, server: str, where: str, why: str = "", reason: str = "", by: str = "", again_until_us: int = 0) -> None:
        """What is read next is a new history, of this server; see Turn. What was `again` in the one before stays so."""
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        again_until_us = max(again_until_us, self._turn.again_until_us)
        self._turn = Turn(
            len(self.histories()) + 1, server, where, since, why, reason=reason, by=by, again_until_us=again_until_us
        )
        self._flag_again()
        self.number = 0

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
                self.at_server(self._turn.server, self._turn.where, f"the binlog's name changed from {history.binlog}")
            executed = self.executed()
            self.number = self._meta.source_number(self._source, base, self._turn.pack())
            if executed is not None:
                self._keep(executed, ORIGIN)
            else:
                self._keep_time(ORIGIN)
        return self.number

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

    def _keep_time(self, at: Identity) -> None:
        """Nobody knows by GTID what was executed: how late it is there is something to go by."""
        assert self._decoder is not None
        if self._decoder.origin_us:
            self._meta.keep_gtid_set(self.number, at, time_mark(self._decoder.origin_us))
            self._kept_at = at

    def _keep(self, executed: Gtids, at: Identity) -> None:
        assert self._decoder is not None
        self._meta.keep_gtid_set(self.number, at, pack_gtids(executed))
        self._base, self._kept_at = executed, at
        self._decoder.know_gtids(at, isinstance(executed, MariadbGtids), [])
