from collections.abc import Callable, Iterator

import pytest

from tests.sink.rig import Rig, rigs


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    yield from rigs()
