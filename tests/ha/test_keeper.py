"""Leases between several engines on a real ZooKeeper: who has what, and how it changes hands."""

import os
import signal

import pytest

from engine.ha import layout
from engine.ha.grant import boot_ns
from engine.ha.granted import GrantedTimeout
from engine.ha.leases import look
from engine.ha.proof import GRANT_PART
from engine.ha.session import ZooKeeperSession
from tests.ha.conftest import eventually

THREE = ["a", "b", "c"]


@pytest.fixture
def admin():
    sessions = []

    def make(cluster):
        sessions.append(ZooKeeperSession(cluster.config))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


def test_one_of_three_engines_gets_a_destination_and_the_others_know_whose_it_is(shared_zookeeper, make_cluster):
    cluster = make_cluster(shared_zookeeper.hosts)
    members = [cluster.join(name, ["orders"]) for name in THREE]
    eventually(lambda: len(cluster.owners()) == 1)
    owner = cluster.owners()["orders"]
    for member in members:
        eventually(lambda member=member: member.keeper.picture.owners.get("orders", {}).get("node") == owner)
        assert bool(member.owned) == (member.name == owner)


def test_destinations_spread_evenly_over_engines_that_start_together(shared_zookeeper, make_cluster):
    cluster = make_cluster(shared_zookeeper.hosts, balance_after_s=0.2)
    destinations = [f"d{n}" for n in range(7)]
    members = [cluster.join(name, destinations) for name in THREE]
    eventually(lambda: sorted(len(member.owned) for member in members) == [2, 2, 3])


def test_an_engine_that_stops_hands_over_at_once_and_epochs_grow(shared_zookeeper, make_cluster):
    cluster = make_cluster(shared_zookeeper.hosts, timeout_s=5.0)
    first = cluster.join("a", ["orders"])
    eventually(lambda: first.owned == ["orders"])
    second = cluster.join("b", ["orders"])
    eventually(lambda: "b" in first.keeper.picture.nodes)
    before = first.keeper.leases()["orders"].epoch
    first.close()
    took = eventually(lambda: second.owned == ["orders"])
    after = second.keeper.leases()["orders"]
    assert took < 1.0, "far less than the session's time-out"
    assert (after.epoch, after.came_from, after.reason) == (before + 1, "a", "stopped")


def test_when_an_engine_is_killed_another_has_its_destinations_after_the_sessions_time_out(shared_zookeeper, make_cluster):
    cluster = make_cluster(shared_zookeeper.hosts, timeout_s=1.0)
    process = cluster.spawn("a", ["orders"])
    grant = cluster.grant("a", "orders")
    eventually(grant.holds)
    second = cluster.join("b", ["orders"])
    eventually(lambda: "a" in second.keeper.picture.nodes)
    process.kill()
    took = eventually(lambda: second.owned == ["orders"])
    assert took < 2.0
    assert second.keeper.leases()["orders"].reason == "owner gone"
    grant.close()


def test_an_engine_that_was_stopped_and_goes_on_never_has_the_lease_together_with_its_successor(shared_zookeeper, make_cluster):
    cluster = make_cluster(shared_zookeeper.hosts, timeout_s=1.0)
    process = cluster.spawn("a", ["orders"])
    first = cluster.grant("a", "orders")
    eventually(first.holds)
    member = cluster.join("b", ["orders"])
    eventually(lambda: "a" in member.keeper.picture.nodes)
    epoch = first.epoch
    os.kill(process.pid, signal.SIGSTOP)
    second = member.grants["orders"]
    while not second.holds():
        assert not (first.holds() and member.keeper.leases())
    assert not first.holds()
    os.kill(process.pid, signal.SIGCONT)
    eventually(lambda: first.epoch == 0)
    assert not first.holds()
    assert second.holds()
    assert second.epoch == epoch + 1
    first.close()


def test_a_lease_that_was_lost_is_not_taken_again_before_what_ran_under_it_has_ended(shared_zookeeper, make_cluster, admin):
    cluster = make_cluster(shared_zookeeper.hosts)
    member = cluster.join("a", ["orders"])
    eventually(lambda: member.owned == ["orders"])
    epoch = member.keeper.leases()["orders"].epoch
    member.keeper.runs(["orders"])
    session = admin(cluster)
    session.persist(lambda: session.wait(session.client.delete_async(layout.owner_path(session, "orders"))))
    eventually(lambda: member.keeper.leases() == {})
    other = cluster.join("b", ["stock"])  # its joining makes "a" look and decide again
    eventually(lambda: "b" in member.keeper.picture.nodes and other.owned == ["stock"])
    assert member.keeper.leases() == {}
    member.keeper.runs([])
    eventually(lambda: member.owned == ["orders"])
    assert member.keeper.leases()["orders"].epoch == epoch + 1


def test_a_drained_engine_gives_its_destinations_away_and_takes_none(shared_zookeeper, make_cluster, admin):
    cluster = make_cluster(shared_zookeeper.hosts, balance_after_s=0.2)
    destinations = ["d1", "d2", "d3", "d4"]
    members = [cluster.join(name, destinations) for name in ("a", "b")]
    eventually(lambda: [len(member.owned) for member in members] == [2, 2])
    session = admin(cluster)
    session.persist(lambda: session.ensure(layout.drained_path(session, "a")))
    eventually(lambda: [len(member.owned) for member in members] == [0, 4])
    session.persist(lambda: session.wait(session.client.delete_async(layout.drained_path(session, "a"))))
    eventually(lambda: [len(member.owned) for member in members] == [2, 2])


def test_balance_moves_destinations_at_once_when_it_is_asked_for(shared_zookeeper, make_cluster, admin):
    cluster = make_cluster(shared_zookeeper.hosts, balance_after_s=3600)
    destinations = ["d1", "d2", "d3", "d4"]
    first = cluster.join("a", destinations)
    eventually(lambda: len(first.owned) == 4)
    second = cluster.join("b", destinations)
    eventually(lambda: "b" in first.keeper.picture.nodes)
    assert second.owned == []
    session = admin(cluster)
    session.persist(lambda: session.wait(session.client.set_async(layout.balance_path(session), b"")))
    eventually(lambda: len(first.owned) == len(second.owned) == 2)


def test_the_last_engine_keeps_serving_although_it_is_drained(shared_zookeeper, make_cluster, admin):
    cluster = make_cluster(shared_zookeeper.hosts)
    only = cluster.join("a", ["orders"])
    eventually(lambda: only.owned == ["orders"])
    session = admin(cluster)
    session.persist(lambda: session.ensure(layout.drained_path(session, "a")))
    eventually(lambda: "a" in only.keeper.picture.drained)
    assert only.owned == ["orders"]


def test_two_engines_of_one_name_are_told_apart_and_the_second_waits(shared_zookeeper, make_cluster):
    cluster = make_cluster(shared_zookeeper.hosts)
    first = cluster.join("a", ["orders"])
    eventually(lambda: first.owned == ["orders"])
    (cluster.folder / "elsewhere").mkdir()
    cluster.folder = cluster.folder / "elsewhere"
    second = cluster.join("a", ["orders"])
    second.keeper._leases._place = "another place"
    eventually(lambda: "another engine has this name" in second.keeper.trouble)
    assert first.owned == ["orders"]


def test_while_zookeeper_is_away_a_lease_is_good_as_long_as_it_can_be_proven_and_comes_back_by_itself(
    zookeeper, make_cluster, admin
):
    cluster = make_cluster(zookeeper.hosts, timeout_s=2.0)
    member = cluster.join("a", ["orders"])
    eventually(lambda: member.owned == ["orders"])
    zookeeper.freeze()
    assert member.owned == ["orders"]
    took = eventually(lambda: member.owned == [])
    assert took <= 1.1, "half the time-out"
    eventually(lambda: member.keeper.leases() == {})
    assert "ZooKeeper" in member.keeper.trouble or "renewal" in member.keeper.trouble
    zookeeper.thaw()
    eventually(lambda: member.owned == ["orders"])
    eventually(lambda: member.keeper.trouble == "")
    session = admin(cluster)
    picture = session.persist(lambda: look(session, ["orders"]))
    assert picture.owners["orders"]["epoch"] == member.keeper.leases()["orders"].epoch


def test_what_zookeeper_grants_is_known_from_each_connection_as_soon_as_it_is_there(strict_zookeeper, admin, make_cluster):
    for asked_s, granted_s in ((0.3, 1.0), (1.7, 1.7), (40.0, 2.0)):
        session = admin(make_cluster(strict_zookeeper.hosts, timeout_s=asked_s))
        told = []
        session.client.add_listener(lambda state, session=session, told=told: told.append((state, session.granted_s)))
        session.wait_connected(10)
        assert session.granted_s == granted_s
        assert told in ([], [("CONNECTED", granted_s)])


def test_without_knowing_what_zookeeper_has_granted_no_lease_is_taken(shared_zookeeper, make_cluster, monkeypatch):
    monkeypatch.setattr(GrantedTimeout, "_note", lambda self, ms, begun_ns: None)
    member = make_cluster(shared_zookeeper.hosts).join("a", ["orders"])
    eventually(lambda: member.keeper.fatal is not None)
    assert "which session time-out ZooKeeper has granted" in str(member.keeper.fatal)
    assert member.owned == []


def test_a_lease_is_proven_by_the_time_out_that_zookeeper_grants_and_not_by_the_one_asked_for(strict_zookeeper, make_cluster):
    short = make_cluster(strict_zookeeper.hosts, timeout_s=0.3).join("a", ["orders"])
    long = make_cluster(strict_zookeeper.hosts, timeout_s=40.0).join("b", ["stock"])
    eventually(lambda: short.owned == ["orders"] and long.owned == ["stock"])
    assert (short.keeper.timeout_s, long.keeper.timeout_s) == (1.0, 2.0)
    for member, name in ((short, "orders"), (long, "stock")):
        assert member.grants[name].valid_until_ns - boot_ns() <= member.keeper.timeout_s * GRANT_PART * 1e9
    strict_zookeeper.freeze()
    eventually(lambda: long.owned == [], 10)  # and not after half of 40 s
    strict_zookeeper.thaw()
    eventually(lambda: short.owned == ["orders"] and long.owned == ["stock"])
