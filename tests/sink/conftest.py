from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.sink.rig import Rig, rigs


@pytest.fixture(params=["memory", "file"])
def make_rig(request: pytest.FixtureRequest) -> Iterator[Callable[..., Rig]]:
    """A rig of either kind of store."""
    for make in rigs():

        def make_of_kind(make: Callable[..., Rig] = make, **settings: Any) -> Rig:
            return make(**{"store": {"kind": request.param}, **settings})

        yield make_of_kind
