"""A ring of the smallest size, and a reader of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.record import MIN_RING_BYTES
from engine.ring import Reader, Ring


@pytest.fixture
def ring() -> Iterator[Ring]:
    """With this process as the writer."""
    ring = Ring.create(None, MIN_RING_BYTES)
    ring.open_writer()
    yield ring
    ring.close()


@pytest.fixture
def reader(ring: Ring) -> Reader:
    reader = ring.add_reader("sink")
    reader.open()
    return reader
