"""Whatever is late, a grant ends before ZooKeeper's leader may end the session."""

from hypothesis import given
from hypothesis import strategies as st

from engine.ha.keeper import RENEWALS
from engine.ha.proof import GRANT_PART, Proof

TIMEOUT_S = 8.0
T = 8_000_000_000
HALF_TICK = T // 4  # the longest that there is
PAUSES = st.integers(0, T)  # ns
MESSAGES = st.lists(st.tuples(PAUSES, PAUSES, PAUSES), min_size=1, max_size=12)  # rest, on the way there, and back


@given(MESSAGES, PAUSES)
def test_whenever_the_node_dies_the_leader_has_heard_of_us_less_than_a_time_out_before_the_grant_ends(messages, connecting_ns):
    proof, now = Proof(), T
    connected = now
    heard = [(connected, connected)]  # at the node or leader, and since when the leader knows of it
    now += connecting_ns
    for rest, there, back in messages:
        now += rest
        sent, sure = now, proof.sure_ns(connected, now, TIMEOUT_S)
        now += there
        heard.append((now, now + HALF_TICK))
        known = max(at for at, since in heard if since <= now)  # the node passes on no more: it may die at any time from now on
        now += back
        proof.confirmed(sent, sure, now, TIMEOUT_S)
        assert proof.until_ns < known + T
        assert proof.until_ns <= sent + GRANT_PART * T


def test_steady_renewals_prove_the_whole_grant():
    proof, now = Proof(), T
    for _ in range(20):
        sure = proof.sure_ns(T, now, TIMEOUT_S)
        proof.confirmed(now, sure, now + T // 50, TIMEOUT_S)
        assert proof.until_ns == now + GRANT_PART * T
        now += T // RENEWALS + T // 50


def test_a_claim_right_after_a_renewal_that_took_long_proves_no_more_than_the_leader_is_sure_to_know():
    proof = Proof()
    assert proof.sure_ns(T, T, TIMEOUT_S) == T
    proof.confirmed(T, T, T + 4 * T // 5, TIMEOUT_S)
    late = T + 4 * T // 5 + 1
    assert proof.sure_ns(T, late, TIMEOUT_S) == T, "of the renewal it may not know yet"
    proof.confirmed(late, T, late, TIMEOUT_S)
    assert proof.until_ns == T + 9 * T // 10


def test_another_connection_begins_anew():
    proof = Proof()
    proof.confirmed(T, proof.sure_ns(T, T, TIMEOUT_S), T, TIMEOUT_S)
    assert proof.sure_ns(5 * T, 6 * T, TIMEOUT_S) == 5 * T
