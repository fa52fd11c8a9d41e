"""Up to when an engine can prove its leases: what renewals and claims that ZooKeeper has confirmed are worth.

ZooKeeper's leader ends a session when it has not heard of it for the time-out T. It hears of it from the node that the client is
connected to, every half tick, which is at most T/4, since T is at least two ticks; and that node may die before. So of a message
that was confirmed T/4 ago or longer the leader is sure to know; of a later one it may not. When a client connects, the leader is
asked itself.

    grant  =  as long as T/2 from the moment before a confirmed message was sent,
              but no longer than 9/10 T from the latest moment of which the leader is sure to know

All instants are CLOCK_BOOTTIME, in nanoseconds.
"""

from __future__ import annotations

from collections import deque

GRANT_PART = 0.5  # of the time-out, from a confirmed message on
LATE_PART = 0.25  # of the time-out: within which the leader hears of a message
SURE_PART = 0.9  # of the time-out, from what the leader is sure to know on


class Proof:
    """Of one session after the other."""

    def __init__(self) -> None:
        self.sent_ns = 0  # before the last confirmed message
        self.until_ns = 0  # up to when it proves our leases
        self._connected_ns = 0
        self._sure_ns = 0
        self._unsure: deque[tuple[int, int]] = deque()  # sent and confirmed, since

    def sure_ns(self, connected_ns: int, now_ns: int, timeout_s: float) -> int:
        """Of a message that is about to be sent: an instant at which, or after which, the leader heard of the session.

        connected_ns: when the connection in use was begun.
        """
        if connected_ns != self._connected_ns:
            self._connected_ns = self._sure_ns = connected_ns
            self._unsure.clear()
        late_ns = int(timeout_s * LATE_PART * 1e9)
        while self._unsure and self._unsure[0][1] <= now_ns - late_ns:
            self._sure_ns = self._unsure.popleft()[0]
        return self._sure_ns

    def confirmed(self, sent_ns: int, sure_ns: int, now_ns: int, timeout_s: float) -> None:
        """A message has been, of which `sure_ns` had said so when it was sent."""
        self._unsure.append((sent_ns, now_ns))
        self.sent_ns = sent_ns
        self.until_ns = min(sent_ns + int(timeout_s * GRANT_PART * 1e9), sure_ns + int(timeout_s * SURE_PART * 1e9))
