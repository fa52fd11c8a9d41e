"""Heartbeats: who waits for an answer is not taken for one that hangs."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from engine import beats
from engine.config import SourceConfig
from engine.errors import ConnectionLost
from engine.instance import Instance
from engine.source.connection import Connection


def test_a_source_that_waits_for_a_silent_server_is_not_taken_for_one_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "_own", None)  # put back afterwards
    instance = Instance(tmp_path)
    beats.make_beats(instance, 1)
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def look() -> None:
            peer, _ = silent.accept()
            with peer, (Path("/dev/shm") / f"{instance.prefix}beats").open("rb") as page:
                seen.append(int.from_bytes(page.read(8), "little"))
                peer.recv(1)

        server = threading.Thread(target=look)
        server.start()
        beats.beat_at(instance, 0)
        source = Connection(SourceConfig(url=f"mysql://u:p@127.0.0.1:{silent.getsockname()[1]}", read_timeout_s=0.3), "shop")
        with pytest.raises(ConnectionLost):
            source.connect()
        server.join(10)
    (ahead,) = seen
    (Path("/dev/shm") / f"{instance.prefix}beats").unlink()
    page, place = beats._own
    assert ahead > page[place]  # so far ahead that nothing was missed; now it beats as ever
