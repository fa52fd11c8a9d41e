"""Meta in a real ZooKeeper: stopped and started again while in use, fenced by epochs, and things too large for a node."""

import logging
import threading
import time

import pytest

from engine.errors import LeaseLost, MetaAway, MetaError
from engine.ha.grant import Grant
from engine.ha.session import ZooKeeperSession
from engine.instance import Instance
from engine.meta import Place
from engine.meta.mixed import MixedMeta
from engine.meta.zookeeper import ZooKeeperMeta
from engine.position import Identity
from tests.meta.metas import Opening, cluster_at, next_epoch, take_lease

PLACE = Place("orders", "cache", 0, 1)


def at(n: int) -> Identity:
    return Identity(n, 4, 1, 0)


@pytest.fixture
def new_opening(tmp_path):
    """`new_opening("mixed", cluster, "a")`: an engine `a` that holds the lease of `orders`."""
    instances = []

    def make(kind, cluster, name="a"):
        opening = Opening(kind, tmp_path / name, cluster)
        opening.data_dir.mkdir(exist_ok=True)
        instances.append(opening.instance)
        take_lease(opening, "orders")
        return opening

    yield make
    for instance in instances:
        instance.grant_file("orders").unlink(missing_ok=True)


@pytest.fixture
def outsider(request):
    """Reads what is in ZooKeeper, and nothing else."""
    metas = []

    def make(cluster):
        metas.append(ZooKeeperMeta(cluster))
        return metas[-1]

    yield make
    for meta in metas:
        meta.close()


def test_mixed_acks_go_on_while_zookeeper_is_away_and_are_flushed_when_it_is_back(zookeeper, new_opening, outsider):
    cluster = cluster_at(zookeeper.hosts)
    meta = new_opening("mixed", cluster).open()
    meta.ack({PLACE: at(1)})
    assert meta.flush(10)
    zookeeper.stop()
    began = time.monotonic()
    for n in range(2, 50):
        meta.ack({PLACE: at(n)})
    assert time.monotonic() - began < 2.0
    assert meta.acked("orders") == meta.acked() == {PLACE: at(49)}
    assert not meta.flush(0.2)
    zookeeper.start()
    assert meta.flush(20)
    assert outsider(cluster).acked("orders") == {PLACE: at(49)}
    meta.close()


def test_an_ack_of_zookeeper_meta_waits_while_it_is_away_and_returns_when_it_is_kept(zookeeper, new_opening, outsider):
    cluster = cluster_at(zookeeper.hosts)
    meta = new_opening("zookeeper", cluster).open()
    meta.ack({PLACE: at(1)})
    zookeeper.kill()
    ack = threading.Thread(target=meta.ack, args=({PLACE: at(2)},), daemon=True)
    ack.start()
    ack.join(0.5)
    assert ack.is_alive(), "confirmed although nobody has it"
    zookeeper.start()
    ack.join(20)
    assert not ack.is_alive()
    assert outsider(cluster).acked() == {PLACE: at(2)}
    meta.close()


def test_a_call_gives_up_in_time_with_an_error_that_may_be_retried(zookeeper):
    meta = ZooKeeperMeta(cluster_at(zookeeper.hosts), patience_s=0.3)
    meta.source_number("shop", "binlog")
    zookeeper.stop()
    with pytest.raises(MetaAway, match="ZooKeeper") as caught:
        meta.source_number("shop", "another")
    assert caught.value.retryable
    assert caught.value.reason == "zookeeper_away"
    meta.close()


@pytest.mark.parametrize("kind", ["zookeeper", "mixed"])
def test_a_late_ack_of_an_old_owner_is_refused_and_nothing_of_it_is_kept(shared_zookeeper, new_opening, outsider, kind, caplog):
    cluster = cluster_at(shared_zookeeper.hosts)
    old = new_opening(kind, cluster, "old").open()
    old.ack({PLACE: at(1)})
    new_owner = new_opening("zookeeper", cluster, "new").open()
    new_owner.ack({PLACE: at(2)})
    if kind == "zookeeper":
        with pytest.raises(LeaseLost, match=r"another engine has the lease.*ours=1 newest=2"):
            old.ack({PLACE: at(5), PLACE._replace(consumer="other"): at(5)})
    else:
        old.ack({PLACE: at(5), PLACE._replace(consumer="other"): at(5)})
        assert old.flush(10)
        assert "late acks were refused" in caplog.text
    assert outsider(cluster).acked() == {PLACE: at(2)}
    old.close()
    new_owner.close()


def test_a_source_number_is_given_only_under_a_lease_and_an_old_owners_is_refused(shared_zookeeper, new_opening, outsider):
    cluster = cluster_at(shared_zookeeper.hosts)
    opening = new_opening("zookeeper", cluster, "old")
    take_lease(opening, "audit")
    old, under = opening.open(), ("orders", "audit")
    assert old.source_number("shop", "binlog", "one", 0, under) == 1
    assert old.change_history(1, "one", "two", under)
    grant = Grant.attach(opening.instance.grant_file("audit"))
    grant.forget()
    assert old.source_number("shop", "binlog", "three", 1, under) == 2, "one of them is enough"
    session = ZooKeeperSession(cluster)
    next_epoch(session, "orders")
    for late in (
        lambda: old.source_number("shop", "binlog", "four", 2, under),
        lambda: old.change_history(2, "three", "four", under),
    ):
        with pytest.raises(LeaseLost, match=r"another engine has the lease.*destination=orders"):
            late()
    with pytest.raises(LeaseLost, match="no lease of these destinations"):
        old.source_number("shop", "binlog", "four", 2, ["audit"])
    someone = outsider(cluster)
    assert [history.identity for history in someone.histories().values()] == ["two", "three"]
    assert someone.source_number("shop", "binlog", "an operator's") == 3
    grant.close()
    session.close()
    old.close()


def test_an_engine_whose_grant_was_taken_back_may_not_ack(shared_zookeeper, new_opening):
    cluster = cluster_at(shared_zookeeper.hosts)
    opening = new_opening("zookeeper", cluster)
    meta = opening.open()
    grant = Grant.attach(opening.instance.grant_file("orders"))
    grant.forget()
    with pytest.raises(LeaseLost, match="no lease"):
        meta.ack({PLACE: at(1)})
    assert meta.acked() == {}
    grant.close()
    meta.close()


def test_acks_left_on_a_machine_are_flushed_by_its_next_lease_if_nobody_owned_in_between(shared_zookeeper, new_opening, outsider):
    cluster = cluster_at(shared_zookeeper.hosts)
    opening = new_opening("mixed", cluster)
    meta = opening.open()
    meta._local.ack({PLACE: at(7)})  # as if the engine had been killed before it could flush
    meta.close()
    assert outsider(cluster).acked() == {}
    take_lease(opening, "orders")
    assert outsider(cluster).acked() == {PLACE: at(7)}


def test_acks_left_on_a_machine_count_no_longer_once_another_engine_has_owned(shared_zookeeper, new_opening, outsider, caplog):
    cluster = cluster_at(shared_zookeeper.hosts)
    opening = new_opening("mixed", cluster)
    meta = opening.open()
    meta._local.ack({PLACE: at(7)})
    meta.close()
    other = new_opening("mixed", cluster, "other").open()
    other.ack({PLACE: at(3)})
    other.close()
    take_lease(opening, "orders")
    assert "did not reach ZooKeeper before another engine took over" in caplog.text
    again = opening.open()
    assert again.acked("orders") == outsider(cluster).acked("orders") == {PLACE: at(3)}
    again.close()


def test_many_acks_are_few_writes(shared_zookeeper, new_opening):
    cluster = cluster_at(shared_zookeeper.hosts, flush_ms=100)
    meta = new_opening("mixed", cluster).open()
    began = time.monotonic()
    n = 0
    while time.monotonic() - began < 0.6:
        n += 1
        meta.ack({PLACE: at(n)})
    assert meta.flush(10)
    stat = meta.session.client.exists(f"{cluster.root}/meta/acked/orders/cache")
    assert n > 50
    assert stat.version <= (time.monotonic() - began) / 0.1 + 1
    meta.close()


def test_engines_on_other_machines_agree_on_numbers_and_keys_also_when_both_write_at_once(shared_zookeeper, tmp_path):
    cluster = cluster_at(shared_zookeeper.hosts)
    given: list[dict] = [{}, {}]

    def allocate(which):
        meta = MixedMeta(cluster, Instance(tmp_path / str(which)))
        for n in range(60) if which else range(59, -1, -1):
            given[which][n] = meta.table_key(b"%d" % n)
            given[which][f"s{n % 7}"] = meta.source_number("shop", f"binlog{n % 7}")
        meta.close()

    threads = [threading.Thread(target=allocate, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert given[0] == given[1]
    assert len({key for n, key in given[0].items() if isinstance(n, int)}) == 60


def test_schemas_and_history_entries_larger_than_a_node_go_in_pieces(shared_zookeeper, outsider):
    meta = outsider(cluster_at(shared_zookeeper.hosts))
    large = bytes(range(256)) * 9000  # 2.3 MB
    key = meta.table_key(large)
    assert meta.packed_schema(key) == large
    for n in range(3):
        meta.keep_history(1, at(n), b"%d" % n + large)
    for n in range(3, 600):
        if n % 100 == 3:
            meta.keep_history(1, at(n), b"e" * 200_000)
    assert [(place.file, len(entry)) for place, entry in meta.history(1)] == [
        *((n, len(large) + 1) for n in range(3)),
        *((n, 200_000) for n in range(3, 600, 100)),
    ]
    assert len(meta.session.client.get_children(meta.session.path("meta", "history", "1"))) > 3


def test_an_entry_that_two_engines_keep_of_one_source_is_there_once(shared_zookeeper, outsider):
    cluster = cluster_at(shared_zookeeper.hosts)
    for meta in (outsider(cluster), outsider(cluster)):
        meta.keep_history(1, at(1), b"ALTER TABLE t ADD c INT")
    assert meta.history(1) == [(at(1), b"ALTER TABLE t ADD c INT")]


def test_names_of_consumers_may_hold_what_means_something_in_a_path(shared_zookeeper, outsider):
    meta = outsider(cluster_at(shared_zookeeper.hosts))
    places = [Place("orders", name, 0, 1) for name in ("a/b", ".", "..", "ünicode %2F", "plain")]
    meta.ack(dict.fromkeys(places, at(1)))
    assert set(meta.acked("orders")) == set(places)


def test_meta_of_another_version_is_refused_by_name(shared_zookeeper, outsider):
    cluster = cluster_at(shared_zookeeper.hosts)
    session = ZooKeeperSession(cluster)
    session.persist(lambda: session.ensure(session.path("meta", "version")))
    session.persist(lambda: session.wait(session.client.set_async(session.path("meta", "version"), b"9")))
    session.close()
    with pytest.raises(MetaError, match=r"another version.*found=9 known=1"):
        outsider(cluster).histories()


def test_the_epoch_of_a_destination_only_grows(shared_zookeeper):
    session = ZooKeeperSession(cluster_at(shared_zookeeper.hosts))
    assert [next_epoch(session, "orders") for _ in range(3)] == [1, 2, 3]
    session.close()


def test_the_leader_of_an_ensemble_is_killed_and_acks_go_on(ensemble, new_opening, outsider, caplog):
    caplog.set_level(logging.CRITICAL)
    cluster = cluster_at(ensemble.hosts)
    meta = new_opening("zookeeper", cluster).open()
    meta.ack({PLACE: at(1)})
    ensemble.leader().kill()
    meta.ack({PLACE: at(2)})
    ensemble.start()
    assert outsider(cluster).acked() == {PLACE: at(2)}
    meta.close()
