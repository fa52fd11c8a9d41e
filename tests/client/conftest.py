"""The client has two ways from records to Python: native, and on msgpack alone. What it promises, it promises on both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.client import change


@contextmanager
def msgpack_alone() -> Iterator[None]:
    """As where nothing is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(change, "_tuples", None)
        try:
            from engine.client import arrow_walk
        except ImportError:  # no pyarrow: nothing to take away
            pass
        else:
            patch.setattr(arrow_walk, "_columns", None)
        yield


@pytest.fixture(params=["native", "msgpack"], scope="module")
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways in turn."""
    if request.param == "native":
        yield "native"
        return
    with msgpack_alone():
        yield "msgpack"
