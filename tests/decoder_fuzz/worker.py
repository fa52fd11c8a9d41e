"""`python -m tests.decoder_fuzz.worker FOLDER SEED FIRST LAST`: these cases, one after the other, in this process.

Each case must end in records that are msgpack, or in an error of the source's side that names file, offset and event type.
The number of the case at hand stands in FOLDER/at, for whoever finds this process dead; what is wrong without killing it goes
to FOLDER/findings, a JSON line each; the counts to standard output at the end.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path

import msgpack

from engine.errors import SourceError
from engine.ring import Reader, Ring
from engine.source._binlog import NEED_INPUT, RING_FULL, Decoder
from engine.source.event_headers import EVERY_TYPE
from engine.source.events import type_name
from engine.source.tables import MemoryKeys, TableVersions
from engine.source.xa import PreparedGroups
from tests.decoder_fuzz.corpus import FORMAT_DESCRIPTION, HEADER_BYTES, units
from tests.decoder_fuzz.mutations import Case, Mutator

RING_BYTES = 1 << 20
STEP_BYTES = 1 << 20
CASES_A_DECODER = 250  # whose tables and schema history the cases before have filled
HANGING_S = 60  # of wall clock, on a machine that does other things too
SLOW_S = 5.0  # of this process's own time, for one case of a few KB
NO_PACKET = "bytes that are no packet of a dump"  # so there is no event whose type could be named


class _CaseBinlog:
    """A case's stream as a file that can be read again, for its XA transactions."""

    def __init__(self) -> None:
        self.case = Case(b"", False, ())

    def files(self) -> list[tuple[str, int]]:
        return [("binlog", 1)]

    def reread(self, base: str, number: int, offset: int, whole: Container[int] = EVERY_TYPE) -> Iterator[tuple[int, memoryview]]:
        data, at = memoryview(b"" if self.case.packets else self.case.data), 0
        while len(data) - at >= HEADER_BYTES:
            size = int.from_bytes(data[at + 9 : at + 13], "little")
            if not HEADER_BYTES <= size <= len(data) - at:
                return
            if at + 4 >= offset or data[at + 4] == FORMAT_DESCRIPTION:
                yield at + 4, data[at : at + (size if data[at + 4] in whole else HEADER_BYTES)]
            at += size


class Decoding:
    """A ring, its reader, and a decoder that takes one case after the other."""

    def __init__(self, packets: bool) -> None:
        self.ring = Ring.create(None, RING_BYTES)
        self.ring.open_writer()
        self.reader: Reader = self.ring.add_reader("fuzz")
        self.reader.open()
        self.packets = packets
        self.binlog = _CaseBinlog()
        self.unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False)

    def new_decoder(self) -> None:
        keys = MemoryKeys("fuzz")
        tables = TableVersions("fuzz", lambda name: True, keys)
        self.decoder = Decoder(self.ring, tables, source="fuzz", packets=self.packets, number_of=keys.source_number)
        self.decoder.prepared = PreparedGroups(self.binlog, "fuzz")

    def run(self, case: Case) -> str:
        """How it ended. Raises what the decoder raises."""
        self.binlog.case = case
        if case.packets:
            self.decoder.open("", 0, 0, checksum=case.data[17:18] != b"" and case.data[0] > 44)
        else:
            self.decoder.open("binlog", 1, 4)
        rest = memoryview(case.data)
        records = 0
        while True:
            progress = self.decoder.advance(STEP_BYTES)
            records += self.drain()
            if progress == NEED_INPUT:
                if not rest:
                    break
                with self.decoder.writable() as room:
                    n = min(len(room), len(rest))
                    room[:n] = rest[:n]
                self.decoder.filled(n)
                rest = rest[n:]
            elif progress != RING_FULL:
                return "ended"
        return "cut" if self.decoder.unread_bytes else "records" if records else "nothing"

    def drain(self) -> int:
        """Take all records; each must be msgpack with text that is UTF-8."""
        with self.reader.view() as view:
            size = len(view)
            if not size:
                return 0
            began = self.unpacker.tell()
            self.unpacker.feed(view)
            records = sum(1 for _ in self.unpacker)
            assert self.unpacker.tell() - began == size, "the ring's last record is not whole"
        self.reader.advance(size)
        self.reader.ack_to(self.reader.get)
        return records


def named(error: SourceError, case: Case, decoder: Decoder) -> bool:
    """Whether it says where: file (which a dump's first packet tells), offset and event type (unless it comes of no event)."""
    facts = error.facts
    in_event = error.what != NO_PACKET and "code" not in facts  # which the server's own errors have
    return (
        (facts.get("file") is not None or (case.packets and not decoder.base))
        and facts.get("offset") is not None
        and (facts.get("event") is not None or not in_event)
    )


def run(folder: Path, seed: int, first: int, last: int) -> Counter[str]:
    """The cases first..last - 1, and how they ended."""
    mutator = Mutator(units(), seed)
    counts: Counter[str] = Counter()
    decodings = {packets: Decoding(packets) for packets in (False, True)}
    with open(folder / "at", "r+b") as file, open(folder / "findings", "a") as findings:
        at = mmap.mmap(file.fileno(), 8)
        for number in range(first, last):
            at[:8] = number.to_bytes(8, "little")
            if number % CASES_A_DECODER == 0 or number == first:
                for decoding in decodings.values():
                    decoding.new_decoder()
                signal.setitimer(signal.ITIMER_REAL, HANGING_S)
                print(json.dumps({"at": number, **counts}), flush=True)
            case = mutator.case(number)
            began = time.thread_time()
            wrong = ""
            try:
                ending = decodings[case.packets].run(case)
            except SourceError as error:
                ending = f"refused: {error.what.partition(':')[0]}"
                if not named(error, case, decodings[case.packets].decoder):
                    wrong = f"an error that does not say where: {error!r} {error.facts}"
            except BaseException as error:
                ending = "WRONG"
                wrong = f"{type(error).__name__}: {error}"
                decodings = {packets: Decoding(packets) for packets in (False, True)}
                for decoding in decodings.values():
                    decoding.new_decoder()
            if time.thread_time() - began > SLOW_S:
                wrong = wrong or f"took {time.thread_time() - began:.1f} s"
            if wrong:
                findings.write(json.dumps({"case": number, "kinds": case.kinds, "wrong": wrong}) + "\n")
                findings.flush()
            counts[ending] += 1
            counts["events"] += len(case.kinds)
            for kind in case.kinds:
                counts[f"event {type_name(kind)}"] += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    counts["most_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return counts


def strangers() -> list[str]:
    """Extensions of ours that do not come from the sanitize build, by their files."""
    ours = {name: getattr(module, "__file__", "") for name, module in sys.modules.items() if name.startswith("engine.")}
    return [str(file) for file in ours.values() if file and file.endswith(".so") and "sanitize" not in Path(file).parts]


if __name__ == "__main__":
    assert not strangers(), f"not sanitized: {strangers()}; setup.py's profile `sanitize` must list them"
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a loop in native code hears no Python handler
    os.nice(5)
    done = run(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
    print(json.dumps({"at": int(sys.argv[4]), **done, "done": True}), flush=True)
