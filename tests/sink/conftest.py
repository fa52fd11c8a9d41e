from collections.abc import Callable, Iterator

import pytest

from tests.sink.rig import Rig


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    """Rig(**settings), closed at the end."""
    rigs: list[Rig] = []

    def make(**settings: object) -> Rig:
        rigs.append(Rig(**settings))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()
