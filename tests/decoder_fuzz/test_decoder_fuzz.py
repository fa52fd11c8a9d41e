"""A short run of `make fuzz-decoder`, and whether the sanitize build would find what it is for."""

from __future__ import annotations

import subprocess

import pytest

from tests.decoder_fuzz import sanitized
from tests.decoder_fuzz.__main__ import fuzz
from tests.decoder_fuzz.corpus import units
from tests.decoder_fuzz.mutations import Mutator

pytestmark = pytest.mark.timeout(400)  # a build on a busy machine; `make test` has made it before
EVENTS = 8000
SEED = 20261127
# One byte behind the event that stands in the decoder's input, and the same event when it is looked at as it should be.
LOOKS_TOO_FAR = """
import ctypes, sys
from engine.ring import PROFILE
from tests.decoder_fuzz.worker import Decoding
from tests.source.made_binlog import MadeBinlog

assert PROFILE == "sanitize", PROFILE
made = MadeBinlog()
made.transaction([(1, b"a")])
decoding = Decoding(packets=False)
decoding.new_decoder()
with decoding.decoder.writable() as room:
    end = len(room)
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    print(ctypes.string_at(address + end - 4, 4 + int(sys.argv[1])))
"""


@pytest.fixture(scope="module", autouse=True)
def _build() -> None:
    try:
        sanitized.build()
    except sanitized.Unavailable as unavailable:
        pytest.skip(str(unavailable))


def test_damaged_binlogs_end_in_records_or_in_errors_that_say_where() -> None:
    result = fuzz(EVENTS, SEED)

    assert result.findings == []
    assert result.counts["events"] >= EVENTS
    assert result.counts["records"] > EVENTS / 10, "damage that nothing notices is damage to values"
    assert sum(count for name, count in result.counts.items() if name.startswith("refused")) > EVENTS / 10


@pytest.mark.parametrize("too_many", [0, 1])
def test_the_sanitize_build_dies_of_one_byte_too_many(too_many: int) -> None:
    done = subprocess.run(
        [*sanitized.command("x")[:2], "-c", LOOKS_TOO_FAR, str(too_many)],
        cwd=sanitized.ROOT, env=sanitized.environment(), capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode != 0) is bool(too_many), done.stderr[-2000:]
    assert ("heap-buffer-overflow" in done.stderr) is bool(too_many)


def test_every_kind_of_event_that_is_recorded_gets_damaged() -> None:
    corpus = units()
    mutator = Mutator(corpus, SEED)
    damaged = {kind for number in range(5000) for kind in mutator.case(number).kinds}

    assert damaged >= {event[4] for unit in corpus for event in unit.events}


def test_the_same_seed_makes_the_same_cases() -> None:
    assert [Mutator(units(), 5).case(n) for n in range(50)] == [Mutator(units(), 5).case(n) for n in range(50)]
