"""CRC32 as fast as this machine has it: the address of a library's function, for native code to call.

zlib-ng's wheel first (carry-less multiplication: over 10 GB/s), then libdeflate, then zlib. All take (crc so far, bytes,
length) and return the next crc; zlib's `crc32_z` alone has an `unsigned long` for the crc, so it counts as WIDE.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import zlib
from typing import Any, NamedTuple

from engine.errors import InternalError

_PROBE = bytes(range(256)) * 33 + b"tail"


class Crc(NamedTuple):
    """One way to it: a function whose crc is a `uint32_t` or (wide) an `unsigned long`."""

    library: str
    function: Any
    wide: bool


def _zlib_ng() -> str | None:
    try:
        import zlib_ng.zlib_ng
    except ImportError:
        return None
    return zlib_ng.zlib_ng.__file__


def available() -> list[Crc]:
    """Every way there is here, the fastest first; each has been tried against zlib's own."""
    found = []
    for library, path, symbol, wide in (
        ("zlib-ng", _zlib_ng(), "zng_crc32_z", False),
        ("libdeflate", "libdeflate.so.0", "libdeflate_crc32", False),
        ("zlib", "libz.so.1", "crc32_z", True),
    ):
        if path is None:
            continue
        try:
            function = getattr(ctypes.CDLL(path), symbol)
        except (OSError, AttributeError):
            continue
        number = ctypes.c_ulong if wide else ctypes.c_uint32
        function.argtypes = [number, ctypes.c_char_p, ctypes.c_size_t]
        function.restype = number
        half = function(0, _PROBE, 1001)
        if function(half, _PROBE[1001:], len(_PROBE) - 1001) == zlib.crc32(_PROBE):
            found.append(Crc(library, function, wide))
    return found


def _fastest() -> Crc:
    for crc in available():
        return crc
    raise InternalError("no library with a crc32 function", remedy="install the zlib-ng package, or the system's zlib")


LIBRARY, FUNCTION, WIDE = _fastest()  # FUNCTION keeps the library loaded
ADDRESS: int = ctypes.cast(FUNCTION, ctypes.c_void_p).value or 0
