"""In a cluster a destination is served under one lease, and its sessions say which."""

from engine.config import DestinationConfig
from engine.ha.grant import Grant, boot_ns
from engine.server.destinations import Destination

HOUR_NS = 3600 * 10**9


def test_what_was_started_under_one_epoch_is_not_served_under_the_next(server):
    grant = Grant.create(server.instance.data_dir / "grant")
    grant.give(7, boot_ns() + HOUR_NS)
    destination = Destination("orders", DestinationConfig(), ["shop"], server.instance, Grant.attach(grant.path))
    assert destination.epoch == 7
    assert destination.may_serve()
    grant.extend(boot_ns() + 2 * HOUR_NS)
    assert destination.may_serve()
    grant.give(9, boot_ns() + HOUR_NS)
    assert not destination.may_serve(), "another engine had it in between"
    destination.let_go()
    assert grant.let_go == 7, "the new lease is not let go with the old one"
    destination.close()
    grant.close()


def test_a_server_in_no_cluster_has_no_epoch(server):
    assert server.connect().hello().epoch is None
