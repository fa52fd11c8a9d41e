"""The thread that keeps an engine in its cluster: renews its session's proof, takes leases, and gives them away.

            claimed                       asked to, and the server has let go
standby ───────────────▶ held ─────────────────────────────────────────────────▶ standby
   ▲                      │ ▲
   │                      │ │ renewed                  the grant runs out by itself, in shared memory, when no renewal
   │                      ▼ │                          is confirmed; nobody has to notice for that
   │ session over,      lapsed
   └─────────────────── or too long

A renewal is a write that a majority of ZooKeeper's nodes has confirmed. How long the grant is that it gives, proof.py says: see
docs/architecture.md for why no other engine can have the lease by then.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kazoo.client import KazooState

from engine.errors import ConfigError, EngineError, LeaseLost, MetaAway
from engine.ha.grant import Grant, boot_ns
from engine.ha.leases import Leases, Move, Picture
from engine.ha.proof import Proof
from engine.ha.session import ZooKeeperSession

if TYPE_CHECKING:
    from engine.config import ClusterConfig

log = logging.getLogger("engine.cluster")

RENEWALS = 8  # in the time of a session's time-out
HASTE = 2  # so many times as often while what has been confirmed proves nothing
GIVE_UP_PART = 1.5  # of the time-out without a renewal: the stages are stopped, whatever becomes of the session
GRACE_S = 1.0  # how long a destination without owner waits for the engine that should take it
MOVE_S = 3.0  # how long one that is on its way to an engine waits for that one
LET_GO_S = 2.0  # for the server to let go of a destination
STEP_S = 0.005  # between looks at a server that lets go
RETRY_S = 0.1


@dataclass
class Held:
    """A lease that we have."""

    epoch: int
    since: float  # seconds since 1970
    reason: str
    came_from: str | None
    target: str | None = None  # of a handover: the engine that gets it; "": whoever wants it
    why: str = ""
    told: float = 0.0  # monotonic: when the server was told to let go


class Successor(Protocol):
    """What has to be done at the beginning of a lease before anything runs (engine.meta.mixed)."""

    def take_over(self, destination: str, epoch: int) -> None: ...


class Keeper:
    """See above. on_change: called from any thread when the supervisor has something to do."""

    def __init__(
        self, cluster: ClusterConfig, name: str, address: str, grants: dict[str, Grant], place: str,
        on_change: Callable[[], None], successor: Successor | None = None,
    ) -> None:  # fmt: skip
        self.cluster = cluster
        self.name = name
        self.address = address
        self.grants = grants
        self.held: dict[str, Held] = {}  # changed by this thread alone, under the lock
        self.picture = Picture()
        self.trouble = ""  # why it isn't as it should be
        self.fatal: EngineError | None = None  # what nobody but the operator can mend
        self.state_of: Callable[[str], dict[str, Any]] = lambda destination: {}
        self._on_change = on_change
        self._running: frozenset[str] = frozenset()
        self._successor = successor
        self._timeout_s = cluster.session_timeout_s  # as ZooKeeper grants it
        self._session = ZooKeeperSession(cluster, self._on_state)
        self._leases = Leases(self._session, name, address, sorted(grants), place)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._joined = False
        self._lost = False  # kazoo says that the session is over
        self._dirty = True  # the picture is old
        self._proof = Proof()
        self._renew_at = 0.0  # monotonic
        self._unowned: dict[str, float] = {}  # destination → monotonic, since when
        self._settled = time.monotonic()  # since when engines and owners are as they are
        self._balance_seen: int | None = None
        self._balancing = False
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def leases(self) -> dict[str, Held]:
        """Those that we have now, a copy."""
        with self._lock:
            return dict(self.held)

    def told(self, destination: str) -> None:
        """The server has been told to let go of a destination that is to leave."""
        with self._lock:
            if destination in self.held:
                self.held[destination].told = time.monotonic()
        self._wake.set()

    def runs(self, destinations: Iterable[str]) -> None:
        """These run here. A lease that was lost is not taken again before what ran under it has ended: its stores are behind
        what another engine's consumers may have acked meanwhile."""
        running = frozenset(destinations)
        if running != self._running:
            self._running = running
            self._wake.set()

    def close(self, within_s: float) -> None:
        """Hand everything over, and leave. The server must have been told (`told`), or LET_GO_S is waited for it."""
        self._closing = True
        self._wake.set()
        self._thread.join(within_s)
        for grant in self.grants.values():
            grant.withdraw()
        self._session.close()

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            pause_s = RETRY_S
            try:
                pause_s = self._cycle()
                self._note_trouble("")
            except MetaAway as error:
                self._joined = self._joined and not self._lost
                self._note_trouble(str(error))
            except LeaseLost as error:
                self._lose_all(str(error))
            except ConfigError as error:
                self.fatal = error
                self._on_change()
                return
            except EngineError as error:
                self._note_trouble(str(error))
            except Exception as error:  # kazoo raises much; whatever it is, the grants run out by themselves
                log.exception("cluster: %s", error)
                self._note_trouble(f"{type(error).__name__}: {error}")
            self._give_up_if_too_long()
            if self._closing and not (self.held and self._session.connected):
                return
            self._wake.wait(pause_s)
            self._wake.clear()

    def _cycle(self) -> float:
        """One round; how long the next may wait."""
        if self._lost:
            self._lost = False
            self._lose_all("the session with ZooKeeper is over")
        if not self._session.connected:
            raise MetaAway("ZooKeeper is away", hosts=self._session.hosts)
        self._take_granted_timeout()
        if not self._joined:
            self._join()
        self._renew_if_due()
        if self._dirty:
            self._look()
        self._decide()
        self._hand_over()
        if any(held.target is not None for held in self.held.values()):
            return STEP_S
        if self._dirty:
            return 0.0
        return max(min(self._renew_at - time.monotonic(), self._timeout_s / RENEWALS), 0.0)

    def _take_granted_timeout(self) -> None:
        """A lease is proven by the time-out that ZooKeeper goes by, whatever was asked for; none is while it isn't known."""
        granted_s, asked_s = self._session.granted_s, self.cluster.session_timeout_s
        if not granted_s:
            raise ConfigError(
                "it can't be told which session time-out ZooKeeper has granted, so no lease could be proven",
                remedy="this version of kazoo is not known to engine/ha/granted.py: install one that the tests have run with",
            )
        if granted_s == self._timeout_s:
            return
        if granted_s < self._timeout_s:  # what was granted before may be longer than the session lasts now
            for grant in self.grants.values():
                grant.withdraw()
        self._timeout_s, self._renew_at = granted_s, 0.0
        log.warning(
            "cluster event=timeout granted_s=%g asked_s=%g: it is what counts; see minSessionTimeout and maxSessionTimeout of"
            " ZooKeeper", granted_s, asked_s,
        )  # fmt: skip

    @property
    def timeout_s(self) -> float:
        """Of the session with ZooKeeper, as it was granted."""
        return self._timeout_s

    def _join(self) -> None:
        self._leases.prepare()
        if not self._leases.register(self._state()):
            raise MetaAway(
                "another engine has this name, or had it a moment ago", name=self.name, remedy="give each its own cluster.name"
            )
        self._leases.release_strays(set())
        self._joined = self._dirty = True
        self._renew_at = 0.0
        log.info("cluster engine=%s event=joined address=%s", self.name, self.address)

    def _renew_if_due(self) -> None:
        if time.monotonic() < self._renew_at:
            return
        sent_ns, sure_ns = self._before_sending()
        self._leases.renew(self._state(), self._timeout_s)
        self._proof.confirmed(sent_ns, sure_ns, boot_ns(), self._timeout_s)
        often = RENEWALS if self._proof.until_ns > boot_ns() else HASTE * RENEWALS
        self._renew_at = time.monotonic() + self._timeout_s / often
        for destination in self.held:
            self.grants[destination].extend(self._proof.until_ns)

    def _before_sending(self) -> tuple[int, int]:
        """A renewal or claim: when it is sent, and what is sure by then."""
        now_ns = boot_ns()
        return now_ns, self._proof.sure_ns(self._session.connected_ns, now_ns, self._timeout_s)

    def _state(self) -> dict[str, Any]:
        """What the others are told about us with each renewal."""
        destinations = {
            name: {"epoch": held.epoch, "since": held.since, "reason": held.reason, "from": held.came_from, **self.state_of(name)}
            for name, held in self.leases().items()
        }
        return {"pid": os.getpid(), "host": socket.gethostname(), "seen": time.time(), "destinations": destinations}

    def _look(self) -> None:
        self._dirty = False
        before = self.picture
        try:
            picture = self._leases.look(self._on_watch)
        except BaseException:
            self._dirty = True
            raise
        now = time.monotonic()
        if (before.eligible, before.owners) != (picture.eligible, picture.owners):
            self._settled = now
        self._unowned = {name: self._unowned.get(name, now) for name in self.grants if name not in picture.owners}
        if self._balance_seen is not None and picture.balance > self._balance_seen:
            self._balancing = True
        self._balance_seen = picture.balance
        self.picture = picture
        self._on_change()

    # -- decisions -------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        if not self._dirty:  # then it was drawn after our last claim
            self._compare_with_picture()
        for name, held in self.leases().items():
            if held.target is None:
                self._see_whether_it_leaves(name)
        if not self._closing:
            for name in sorted(self._unowned):
                if name not in self.held and self._may_claim(name):
                    self._claim(name)
                    return  # and look again, so that they are spread evenly

    def _compare_with_picture(self) -> None:
        held = self.leases()
        for name, lease in held.items():
            owner = self.picture.owners.get(name)
            if owner is None or owner["epoch"] != lease.epoch:
                self._lose(name, f"{owner['node']} has it under epoch {owner['epoch']}" if owner else "the owner node is gone")
        ours = {name for name, owner in self.picture.owners.items() if owner["node"] == self.name}
        if ours - set(held):  # of a claim whose answer was lost
            self._leases.release_strays(set(held))
            self._dirty = True

    def _see_whether_it_leaves(self, name: str) -> None:
        if self._closing:
            self._leave(name, self.picture.emptiest(self.name) or "", "stopped")
        elif self.name in self.picture.drained:
            if target := self.picture.emptiest(self.name):
                self._leave(name, target, "drained")
        elif name in self.picture.moves:
            self._leases.drop_move(name, self.picture.moves[name])  # of an earlier attempt
            self._dirty = True
        else:
            self._balance(name)

    def _balance(self, name: str) -> None:
        counts, target = self.picture.counts(), self.picture.emptiest()
        leaving = any(held.target is not None for held in self.held.values())  # one at a time
        if target is None or counts.get(self.name, 0) - counts[target] < 2:
            self._balancing = self._balancing and leaving
        elif not leaving and (self._balancing or time.monotonic() - self._settled > self.cluster.balance_after_s):
            self._leave(name, target, "balanced")

    def _leave(self, name: str, target: str, why: str) -> None:
        """The server is told by the supervisor; `_hand_over` does the rest."""
        if target:
            self._leases.mean_for(name, target, why)
            self.picture.moves[name] = Move(target, why, -1)  # so that the next one goes where it is emptier
        with self._lock:
            held = self.held[name]
            held.target, held.why = target, why
        log.info("lease destination=%s epoch=%d event=leaving to=%s reason=%s", name, held.epoch, target or "-", why)
        self._on_change()

    def _hand_over(self) -> None:
        now = time.monotonic()
        for name, held in self.leases().items():
            if held.target is None or not held.told:
                continue
            if self.grants[name].let_go == held.epoch or now - held.told > LET_GO_S:
                self.grants[name].forget()
                self._leases.release(name, held.epoch)
                self._drop(name)
                self._dirty = True
                log.info("lease destination=%s epoch=%d event=released to=%s reason=%s", name, held.epoch, held.target, held.why)

    def _may_claim(self, name: str) -> bool:
        if self.name not in self.picture.eligible or name in self._running:
            return False
        waited_s = time.monotonic() - self._unowned[name]
        move = self.picture.moves.get(name)
        if move is not None and move.target in self.picture.eligible and waited_s < MOVE_S:
            return move.target == self.name
        counts = self.picture.counts()
        return counts[self.name] == min(counts.values()) or waited_s > GRACE_S

    def _claim(self, name: str) -> None:
        self._dirty = True
        move = self.picture.moves.get(name)
        sent_ns, sure_ns = self._before_sending()
        lease = self._leases.claim(name, lambda before: self._reason(before, move), move)
        if lease is None:
            return
        self._proof.confirmed(sent_ns, sure_ns, boot_ns(), self._timeout_s)
        held = Held(lease["epoch"], lease["since"], lease["reason"], lease["from"])
        self.grants[name].give(held.epoch, self._proof.until_ns)
        try:
            if self._successor is not None:
                self._successor.take_over(name, held.epoch)
        except EngineError as error:
            log.error("lease destination=%s epoch=%d event=given_back reason=%s", name, held.epoch, error)
            self.grants[name].forget()
            self._leases.release(name, held.epoch)
            raise
        with self._lock:
            self.held[name] = held
        log.info(
            "lease destination=%s epoch=%d event=taken from=%s reason=%s",
            name, held.epoch, held.came_from or "-", held.reason.replace(" ", "_"),
        )  # fmt: skip
        self._on_change()

    def _reason(self, before: dict[str, Any], move: Move | None) -> str:
        if move is not None and move.target == self.name:
            return move.reason
        if not before:
            return "first"
        return "released" if before["node"] in self.picture.nodes else "owner gone"

    # -- what is lost ----------------------------------------------------------------------------------------------

    def _lose_all(self, why: str) -> None:
        self._joined = False
        self._dirty = True
        for name in self.leases():
            self._lose(name, why)

    def _lose(self, name: str, why: str) -> None:
        self.grants[name].forget()
        held = self.held[name]
        self._drop(name)
        log.warning("lease destination=%s epoch=%d event=lost reason=%s", name, held.epoch, why.replace(" ", "_"))
        self.trouble = why

    def _drop(self, name: str) -> None:
        with self._lock:
            del self.held[name]
        self._on_change()

    def _give_up_if_too_long(self) -> None:
        if self.held and boot_ns() - self._proof.sent_ns > self._timeout_s * GIVE_UP_PART * 1e9:
            self._lose_all(self.trouble or "no renewal was confirmed in time")

    def _note_trouble(self, trouble: str) -> None:
        if trouble != self.trouble and not (trouble and self.trouble):
            log.log(
                logging.WARNING if trouble else logging.INFO, "cluster event=%s %s", "trouble" if trouble else "well", trouble
            )
        if trouble != self.trouble:
            self.trouble = trouble
            self._on_change()

    # -- kazoo's thread --------------------------------------------------------------------------------------------

    def _on_state(self, state: str) -> None:
        if state == KazooState.LOST:
            self._lost = True
            for grant in self.grants.values():
                grant.withdraw()
        self._dirty = True  # watches may be gone
        self._wake.set()

    def _on_watch(self, event: Any) -> None:
        self._dirty = True
        self._wake.set()
