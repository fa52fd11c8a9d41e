"""`zk://`: a client finds the server of its destination by the owner's node, and the next one when that changes."""

import json
import uuid

import pytest

import engine
from engine.client import servers
from engine.config import ClusterConfig
from engine.errors import Disconnected, InternalError
from engine.ha import layout
from engine.ha.session import ZooKeeperSession
from tests.client.peer import Peer, Session
from tests.client.test_reconnect import ids, internal, stay


@pytest.fixture
def owner(shared_zookeeper):
    """`owner(address)`: from now on that server has `orders`; `owner.url`."""
    root = f"/test/{uuid.uuid4().hex}"
    session = ZooKeeperSession(ClusterConfig(zookeeper=shared_zookeeper.hosts, root=root))
    path = layout.owner_path(session, "orders")
    session.persist(lambda: session.ensure(path))

    def change(peer: Peer) -> None:
        content = json.dumps({"address": peer.url.rpartition("/")[0]}).encode()
        session.persist(lambda: session.wait(session.client.set_async(path, content)))

    change.url = f"zk://{shared_zookeeper.hosts}{root}/orders"
    change.forget = lambda: session.persist(lambda: session.wait(session.client.delete_async(path)))
    yield change
    session.close()


def test_a_server_that_fails_is_left_as_soon_as_the_destination_has_another_owner(owner):
    with Peer(stay) as healthy:

        def fail_and_move(session: Session) -> None:
            owner(healthy)
            internal()(session)

        with Peer(fail_and_move) as failing:
            owner(failing)
            with engine.connect(owner.url) as stream:
                assert ids(next(stream)) == [2]


def test_an_owner_that_goes_on_failing_is_given_up_with_its_answer(owner, monkeypatch):
    monkeypatch.setattr(servers, "LONGEST_PAUSE_S", 0.001)
    monkeypatch.setattr(servers, "MOST_FAULTS", 4)
    with Peer(internal()) as failing:
        owner(failing)
        said = f"none of the servers.*answers=.{failing.url.rpartition('/')[0]}: it failed over this"
        with pytest.raises(InternalError, match=said), engine.connect(owner.url) as stream:
            next(stream)


def test_while_nobody_has_the_destination_it_is_waited_for(owner):
    with Peer(stay) as peer:
        owner(peer)
        with engine.connect(owner.url) as stream:
            assert ids(next(stream)) == [2]
    owner.forget()
    with pytest.raises(Disconnected, match="no server has the destination now"):
        engine.connect(owner.url, timeout=0.5)
