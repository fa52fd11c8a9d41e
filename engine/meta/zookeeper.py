"""Meta in ZooKeeper: what every engine of a cluster finds.

ROOT/meta/version                    1
ROOT/meta/sources                    all source numbers, one document
ROOT/meta/first                      source number → where it was first read from, one document
ROOT/meta/last_key                   the last table key given out
ROOT/meta/keys/DIGEST                table key of a packed schema
ROOT/meta/schemas/KEY                the packed schema
ROOT/meta/acked/DESTINATION/CONSUMER all acked positions of a consumer, one document
ROOT/meta/history/SOURCE/N           schema history, so many entries as fit
ROOT/meta/gtid/SOURCE/FILE-START     one GTID set
ROOT/meta/marks/SOURCE               file marks, one document
ROOT/meta/pieces/DIGEST/N            what is too large for one node, in pieces; a node then has the digest and their number

Documents are msgpack. Every write is conditional on the version that was read, so writers on any number of machines don't lose
each other's; numbers and keys come from documents that only grow. Acks are conditional on the epoch of the destination's lease
as well, where this engine has a grant of it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import msgpack
from kazoo.client import TransactionRequest
from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError, NotEmptyError

from engine.errors import LeaseLost, MetaError
from engine.ha.grant import Grant
from engine.ha.layout import epoch_path
from engine.ha.session import PATIENCE_S, Conflict, ZooKeeperSession, refused
from engine.instance import Instance
from engine.meta import Place, Presence, SourceHistory
from engine.meta.file import MAX_SOURCE_NUMBER, MAX_TABLE_KEY
from engine.position import Identity

if TYPE_CHECKING:
    from engine.config import ClusterConfig

VERSION = b"1"
MAX_NODE_BYTES = 1_000_000  # ZooKeeper takes 1 MiB in a request, with paths and all
PIECE_BYTES = 512 << 10
SEGMENT_BYTES = 256 << 10  # of a schema history; every new entry writes the last one again

_ABSENT = -1  # version of a node that is not there


class ZooKeeperMeta:
    """The contract of engine.meta.Meta in ZooKeeper. Calls wait while it is away, `patience_s` at most.

    instance: whose grants fence the acks; None: an outsider's, such as a command's. Safe to use from several threads.

    Raises (every call):
        MetaAway: ZooKeeper was away for too long.
        MetaError: it refuses, or holds something else.
    """

    def __init__(self, cluster: ClusterConfig, instance: Instance | None = None, patience_s: float = PATIENCE_S) -> None:
        self.session = ZooKeeperSession(cluster)
        self.patience_s = patience_s
        self._instance = instance
        self._grants: dict[str, Grant | None] = {}
        self._keys: dict[bytes, int] = {}
        self._known: dict[str, tuple[int, dict[tuple[int, int], Identity]]] = {}  # path of a consumer's acks → as read last
        self._lock = threading.Lock()  # of _known and _grants: acks come from a thread of their own
        self._checked = False
        self._documents: dict[str, Any] = {}  # as read last, for while ZooKeeper is away

    # -- numbers and keys ------------------------------------------------------------------------------------------

    def source_number(
        self, source: str, binlog: str, identity: str = "", newest: int | None = None, under: Iterable[str] = ()
    ) -> int:
        given = 0

        def give(rows: list[list[Any]]) -> list[list[Any]] | None:
            nonlocal given
            of_name = [row for row in rows if row[1:3] == [source, binlog]]
            same = [row for row in of_name if not identity or row[3] == identity]
            unnamed = [row for row in of_name if not row[3]]
            if same:
                given = same[-1][0]
                return None
            if unnamed:
                given, unnamed[0][3] = unnamed[0][0], identity
                return rows
            if newest is not None and newest != max((row[0] for row in rows if row[1] == source), default=0):
                given = 0
                return None
            given = rows[-1][0] + 1 if rows else 1
            if given > MAX_SOURCE_NUMBER:
                raise MetaError("meta has no more source numbers", root=self.session.root, most=MAX_SOURCE_NUMBER)
            return [*rows, [given, source, binlog, identity]]

        self._change("sources", give, [], under)
        return given

    def change_history(self, number: int, was: str, identity: str, under: Iterable[str] = ()) -> bool:
        def change(rows: list[list[Any]]) -> list[list[Any]] | None:
            return [[*row[:3], identity] if row[0] == number else row for row in rows] if [number, was] in found(rows) else None

        def found(rows: list[list[Any]]) -> list[list[Any]]:
            return [[row[0], row[3]] for row in rows]

        return [number, identity] in found(self._change("sources", change, [], under))

    def histories(self) -> dict[int, SourceHistory]:
        return {number: SourceHistory(*rest) for number, *rest in self._document("sources", [])}

    def table_key(self, packed_schema: bytes, *, later: bool = False) -> int:
        digest = hashlib.sha256(packed_schema).digest()
        key = self._keys.get(digest)
        if key is None:
            key = self._keys[digest] = self._persist(lambda: self._give_key(digest.hex(), packed_schema))
        return key

    def _give_key(self, digest: str, packed_schema: bytes) -> int:
        by_digest = self._path("keys", digest)
        kept, _ = self._read(by_digest)
        if kept is not None:
            return int(kept)
        last, version = self._read(self._path("last_key"))
        key = int(last or 0) + 1
        if key > MAX_TABLE_KEY:
            raise MetaError("meta has no more table keys", root=self.session.root, most=MAX_TABLE_KEY)
        content = self._whole_or_in_pieces(packed_schema)
        for parent in ("keys", "schemas"):
            self.session.ensure(self._path(parent))

        def build(transaction: TransactionRequest) -> None:
            self._put(transaction, self._path("last_key"), b"%d" % key, version)
            transaction.create(by_digest, b"%d" % key)
            transaction.create(self._path("schemas", str(key)), content)

        self._commit(build)
        return key

    def packed_schema(self, table_key: int) -> bytes | None:
        """What stands there never changes; that it isn't there yet may be old news of a node that lags behind."""
        path = self._path("schemas", str(table_key))

        def read() -> bytes | None:
            content = self._read(path)[0]
            if content is None:
                self.session.up_to_date()
                content = self._read(path)[0]
            return self._put_together(content)

        return self._persist(read)

    def packed_schemas(self, table_keys: Collection[int]) -> dict[int, bytes]:
        return {key: packed for key in table_keys if (packed := self.packed_schema(key)) is not None}

    # -- acked positions -------------------------------------------------------------------------------------------

    def ack(self, positions: dict[Place, Identity]) -> None:
        """As the contract has it, and:

        Raises:
            LeaseLost: the lease of one of the destinations has gone to another engine; nothing was kept.
        """
        by_consumer: dict[tuple[str, str], dict[tuple[int, int], Identity]] = {}
        for place, identity in positions.items():
            if not all(isinstance(number, int) for number in (*place[2:], *identity)):
                raise MetaError("not a position", place=place, identity=identity)
            by_consumer.setdefault(place[:2], {})[place.partition, place.source] = identity
        with self._lock:
            self._persist(lambda: self._ack(by_consumer))

    def _ack(self, by_consumer: dict[tuple[str, str], dict[tuple[int, int], Identity]]) -> None:
        epochs = {destination: self._epoch(destination) for destination, _ in by_consumer}
        changes: dict[str, tuple[int, dict[tuple[int, int], Identity]]] = {}
        for (destination, consumer), positions in by_consumer.items():
            path = self._acked_path(destination, consumer)
            version, kept = self._known.pop(path) if path in self._known else self._read_acked(path)
            changes[path] = version, kept | {place: max(kept.get(place, at), at) for place, at in positions.items()}
            if version == _ABSENT:
                self.session.ensure(path.rpartition("/")[0])

        def build(transaction: TransactionRequest) -> None:
            self._check(transaction, epochs)
            for path, (version, positions) in changes.items():
                self._put(transaction, path, _pack_acked(positions), version)

        self._commit(build, epochs)
        for path, (version, positions) in changes.items():
            self._known[path] = version + 1, positions

    def _check(self, transaction: TransactionRequest, epochs: dict[str, int | None]) -> None:
        """Nothing of it happens unless these are still the epochs."""
        for destination, epoch in epochs.items():
            if epoch is not None:
                transaction.check(epoch_path(self.session, destination), epoch)

    def _refuse_if_lost(self, epochs: dict[str, int | None]) -> None:
        """Was it an epoch that didn't fit?"""
        for destination, epoch in epochs.items():
            if epoch is not None:
                stat = self.session.wait(self.session.client.exists_async(epoch_path(self.session, destination)))
                if stat is None or stat.version != epoch:
                    raise LeaseLost(
                        "another engine has the lease of this destination", destination=destination, ours=epoch,
                        newest=stat and stat.version, remedy="nothing was kept; its new owner delivers again what was not acked",
                    )  # fmt: skip

    def _grant(self, destination: str) -> Grant | None:
        """None: an outsider has none."""
        if self._instance is None:
            return None
        if destination not in self._grants:
            path = self._instance.grant_file(destination)
            self._grants[destination] = Grant.attach(path) if path.exists() else None
        return self._grants[destination]

    def _epochs(self, destinations: Iterable[str]) -> dict[str, int | None]:
        """Of the leases that we have of these; none: an outsider's writes are not fenced.

        Raises:
            LeaseLost: we have none of them, and are no outsider.
        """
        with self._lock:
            grants = {one: grant for one in destinations if (grant := self._grant(one)) is not None}
        epochs: dict[str, int | None] = {one: grant.epoch for one, grant in grants.items() if grant.epoch}
        if grants and not epochs:
            raise LeaseLost(
                "this engine has no lease of these destinations", destinations=",".join(grants), remedy="nothing was kept"
            )
        return epochs

    def _epoch(self, destination: str) -> int | None:
        """Under which our acks of it are kept; None: an outsider's are not fenced."""
        grant = self._grant(destination)
        if grant is None:
            return None
        if not grant.epoch:
            raise LeaseLost("this engine has no lease of the destination", destination=destination, remedy="nothing was kept")
        return grant.epoch

    def acked(self, destination: str | None = None) -> dict[Place, Identity]:
        def read() -> dict[Place, Identity]:
            self.session.up_to_date()
            destinations = [destination] if destination is not None else self._children("acked")
            found = {}
            for name in destinations:
                consumers = self._children("acked", name)
                documents = self._read_all([self._acked_path(name, consumer) for consumer in consumers])
                for consumer, content in zip(consumers, documents, strict=True):
                    for (partition, source), identity in _unpack_acked(content or b"\x90").items():
                        found[Place(name, consumer, partition, source)] = identity
            return found

        return self._persist(read)

    def _read_acked(self, path: str) -> tuple[int, dict[tuple[int, int], Identity]]:
        content, version = self._read(path)
        return version, _unpack_acked(content) if content else {}

    def forget_consumer(self, destination: str, consumer: str) -> None:
        path = self._acked_path(destination, consumer)

        def forget() -> None:
            with suppress(NoNodeError):
                self.session.wait(self.session.client.delete_async(path))

        with self._lock:
            self._known.pop(path, None)
            self._persist(forget)

    def replace_acked(self, destination: str, positions: dict[str, dict[tuple[int, int], Identity]]) -> None:
        """As the contract has it. The epoch moves on with it: what an engine has acked under an earlier one doesn't count."""
        epoch_node = epoch_path(self.session, destination)

        def replace() -> None:
            about, epoch = self._read(epoch_node)
            versions = {consumer: self._read(self._acked_path(destination, consumer))[1] for consumer in positions}
            if _ABSENT in versions.values():
                self.session.ensure(self._path("acked", _quoted(destination)))

            def build(transaction: TransactionRequest) -> None:
                if about is not None and self._epoch(destination) is None:
                    transaction.set_data(epoch_node, about, epoch)
                for consumer, version in versions.items():
                    path, places = self._acked_path(destination, consumer), positions[consumer]
                    if places:
                        self._put(transaction, path, _pack_acked(places), version)
                    elif version != _ABSENT:
                        transaction.delete(path, version)

            self._commit(build)

        with self._lock:
            self._known.clear()
            self._persist(replace)

    def keep_presence(self, destination: str, presence: dict[str, Presence | None]) -> None:
        def change(kept: dict[str, list[float]]) -> dict[str, list[float]]:
            changed = kept | {consumer: list(seen) for consumer, seen in presence.items() if seen is not None}
            return {consumer: seen for consumer, seen in changed.items() if presence.get(consumer, ()) is not None}

        self._change(f"presence.{_quoted(destination)}", change, {})

    def presence(self, destination: str) -> dict[str, Presence]:
        kept = self._document(f"presence.{_quoted(destination)}", {})
        return {consumer: Presence(*seen) for consumer, seen in kept.items()}

    # -- histories and marks ---------------------------------------------------------------------------------------

    def first_position(self, source: int, position: Identity | None = None) -> Identity | None:
        if position is None:
            kept = self._document("first", {}).get(source)
        else:

            def keep(first: dict[int, Any]) -> dict[int, Any] | None:
                return None if source in first and tuple(first[source]) <= position else {**first, source: position}

            kept = self._change("first", keep, {})[source]
        return Identity(*kept) if kept else None

    def keep_history(self, source: int, position: Identity, entry: bytes, *, later: bool = False) -> None:
        self._persist(lambda: self._keep_history(source, position, entry))

    def _keep_history(self, source: int, position: Identity, entry: bytes) -> None:
        segments = self._segments(source)
        content = self._whole_or_in_pieces(entry)
        record = [*position, content]
        if any(record == kept for _, _, records in segments for kept in records):
            return  # an engine that reads the same source for another destination, or read it before, has kept it
        number, version, records = segments[-1] if segments else (0, _ABSENT, [])
        packed = msgpack.packb([*records, record])
        if records and len(packed) > SEGMENT_BYTES:
            number, version, packed = number + 1, _ABSENT, msgpack.packb([record])
        path = self._path("history", str(source), f"{number:010d}")
        self.session.ensure(path.rpartition("/")[0])
        self._commit(lambda transaction: self._put(transaction, path, packed, version))

    def history(self, source: int) -> list[tuple[Identity, bytes]]:
        def read() -> list[tuple[Identity, bytes]]:
            self.session.up_to_date()
            records = [record for _, _, records in self._segments(source) for record in records]
            return [(Identity(*record[:4]), self._put_together(record[4]) or b"") for record in records]

        return sorted(self._persist(read), key=lambda entry: entry[0])

    def _segments(self, source: int) -> list[tuple[int, int, list[list[Any]]]]:
        """(number, version, records) of each, in order."""
        numbers = sorted(int(name) for name in self._children("history", str(source)))
        found = []
        for number in numbers:
            content, version = self._read(self._path("history", str(source), f"{number:010d}"))
            found.append((number, version, msgpack.unpackb(content) if content else []))
        return found

    def keep_gtid_set(self, source: int, position: Identity, gtid_set: str) -> None:
        path = self._path("gtid", str(source), f"{position.file}-{position.start}")

        def keep() -> None:
            content = self._whole_or_in_pieces(gtid_set.encode())
            self.session.ensure(path)
            self.session.wait(self.session.client.set_async(path, content))

        self._persist(keep)

    def gtid_sets(self, source: int) -> list[tuple[Identity, str]]:
        def read() -> list[tuple[Identity, str]]:
            self.session.up_to_date()
            places = self._gtid_places(source)
            contents = self._read_all([self._gtid_path(source, place) for place in places])
            return [
                (place, (self._put_together(content) or b"").decode())
                for place, content in zip(places, contents, strict=True)
                if content
            ]

        return self._persist(read)

    def _gtid_places(self, source: int) -> list[Identity]:
        places = (name.split("-") for name in self._children("gtid", str(source)))
        return sorted(Identity(int(file), int(start), 0, 0) for file, start in places)

    def _gtid_path(self, source: int, place: Identity) -> str:
        return self._path("gtid", str(source), f"{place.file}-{place.start}")

    def keep_file_mark(self, source: int, file: int, mark: str) -> None:
        self._change(f"marks/{source}", lambda marks: None if marks.get(file) == mark else {**marks, file: mark}, {})

    def file_marks(self, source: int) -> dict[int, str]:
        return dict(self._document(f"marks/{source}", {}))

    def prune_marks(self, source: int, before: Identity) -> None:
        def prune() -> None:
            earlier = [place for place in self._gtid_places(source) if place.file > 0 and place[:2] <= before[:2]]
            for place in earlier[:-1]:
                with suppress(NoNodeError):  # another engine was quicker
                    self.session.wait(self.session.client.delete_async(self._gtid_path(source, place)))

        def without(marks: dict[int, str]) -> dict[int, str] | None:
            kept = {file: mark for file, mark in marks.items() if file >= before.file}
            return None if kept == marks else kept

        self._persist(prune)
        self._change(f"marks/{source}", without, {})

    def sync(self) -> None:
        """A majority has everything at once."""

    def close(self) -> None:
        """Closing twice is harmless."""
        self.session.close()
        for grant in self._grants.values():
            if grant is not None:
                grant.close()
        self._grants.clear()

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _path(self, *names: str) -> str:
        return self.session.path("meta", *names)

    def _acked_path(self, destination: str, consumer: str) -> str:
        return self._path("acked", _quoted(destination), _quoted(consumer))

    def _persist(self, attempt: Callable[[], Any]) -> Any:
        def whole_attempt() -> Any:
            if not self._checked:
                self._check_version()
                self._checked = True
            return attempt()

        return self.session.persist(whole_attempt, self.patience_s)

    def _check_version(self) -> None:
        path = self._path("version")
        found, _ = self._read(path)
        if found is None:
            self.session.ensure(self._path())
            self._commit(lambda transaction: transaction.create(path, VERSION))
        elif found != VERSION:
            raise MetaError(
                "meta in ZooKeeper was written by another version of binlog-engine", node=path, found=found.decode(),
                known=VERSION.decode(), remedy="run the version that wrote it, or name another root",
            )  # fmt: skip

    def _read(self, path: str) -> tuple[bytes | None, int]:
        """Content and version; (None, _ABSENT): not there."""
        try:
            content, stat = self.session.wait(self.session.client.get_async(path))
        except NoNodeError:
            return None, _ABSENT
        return content, stat.version

    def _read_all(self, paths: list[str]) -> list[bytes | None]:
        """Asked for at once, which takes little longer than one."""
        pending = [self.session.client.get_async(path) for path in paths]
        found: list[bytes | None] = []
        for one in pending:
            try:
                found.append(self.session.wait(one)[0])
            except NoNodeError:
                found.append(None)
        return found

    def _children(self, *names: str) -> list[str]:
        try:
            children = self.session.wait(self.session.client.get_children_async(self._path(*map(_quoted, names))))
        except NoNodeError:
            return []
        return sorted(unquote(name) for name in children)

    def _document(self, name: str, empty: Any) -> Any:
        """As it is now; while ZooKeeper is away, as it was when it was read last."""

        def read() -> Any:
            self.session.up_to_date()
            content, _ = self._read(self._path(name))
            return msgpack.unpackb(content, strict_map_key=False) if content else empty

        if self.session.connected or name not in self._documents:
            self._documents[name] = self._persist(read)
        return self._documents[name]

    def _change(self, name: str, change: Callable[[Any], Any], empty: Any, under: Iterable[str] = ()) -> Any:
        """Write what `change` makes of a document, unless that is None; the document as it is then.

        Raises:
            LeaseLost: another engine has a lease that we think we have of one of the destinations `under`; nothing was kept.
        """
        path = self._path(name)

        def attempt() -> Any:
            content, version = self._read(path)
            new = change(msgpack.unpackb(content, strict_map_key=False) if content else empty)
            if new is None:
                return msgpack.unpackb(content, strict_map_key=False) if content else empty
            if version == _ABSENT:
                self.session.ensure(path.rpartition("/")[0])
            epochs = self._epochs(under)

            def build(transaction: TransactionRequest) -> None:
                self._check(transaction, epochs)
                self._put(transaction, path, msgpack.packb(new), version)

            self._commit(build, epochs)
            return new

        return self._persist(attempt)

    def _put(self, transaction: TransactionRequest, path: str, content: bytes, version: int) -> None:
        """Write over this version, or make the node where there was none."""
        if len(content) > MAX_NODE_BYTES:
            raise MetaError("too large for a node of ZooKeeper", node=path, bytes=len(content), most=MAX_NODE_BYTES)
        if version == _ABSENT:
            transaction.create(path, content)
        else:
            transaction.set_data(path, content, version)

    def _commit(self, build: Callable[[TransactionRequest], None], epochs: dict[str, int | None] | None = None) -> None:
        """epochs: those that it checks."""
        error = refused(self.session.commit(build))
        if isinstance(error, (BadVersionError, NodeExistsError, NoNodeError, NotEmptyError)):
            self._refuse_if_lost(epochs or {})
            raise Conflict
        if error is not None:
            raise error

    def _whole_or_in_pieces(self, content: bytes) -> bytes:
        """What to keep in a node: the content, or where its pieces are. A piece, once there, never changes."""
        if len(content) <= PIECE_BYTES:
            return b"w" + content
        digest = hashlib.sha256(content).hexdigest()
        pieces = [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)]
        self.session.ensure(self._path("pieces", digest))
        for number, piece in enumerate(pieces):
            with suppress(NodeExistsError):
                self.session.wait(self.session.client.create_async(self._path("pieces", digest, str(number)), piece))
        return b"p" + msgpack.packb([digest, len(pieces)])

    def _put_together(self, kept: bytes | None) -> bytes | None:
        if kept is None or kept[:1] == b"w":
            return kept and kept[1:]
        digest, count = msgpack.unpackb(kept[1:])
        pieces = [piece or b"" for piece in self._read_all([self._path("pieces", digest, str(n)) for n in range(count)])]
        content = b"".join(pieces)
        if hashlib.sha256(content).hexdigest() != digest:
            raise MetaError(
                "a piece is missing or damaged in ZooKeeper", node=self._path("pieces", digest), remedy="restore it from a backup"
            )
        return content


def _quoted(name: str) -> str:
    """As one name of a path: `.` and `..` mean something else there."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


def _pack_acked(positions: dict[tuple[int, int], Identity]) -> bytes:
    packed: bytes = msgpack.packb([[*place, *identity] for place, identity in sorted(positions.items())])
    return packed


def _unpack_acked(content: bytes) -> dict[tuple[int, int], Identity]:
    return {(row[0], row[1]): Identity(*row[2:]) for row in msgpack.unpackb(content)}
