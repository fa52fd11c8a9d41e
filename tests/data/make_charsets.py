"""`python -m tests.data.make_charsets`: makes engine/source/charsets.bin from what both servers answer for every code.

It is run by hand when a server gets a new set; tests/source/test_charsets.py compares the file with the servers.
"""

from __future__ import annotations

import lzma
import struct
from pathlib import Path
from typing import Any

import msgpack

from engine.source.charsets import GB18030_BMP_CODES, LEAD
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL

TARGET = Path(__file__).parents[2] / "engine/source/charsets.bin"
SINGLE = [
    "armscii8", "ascii", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8", "greek", "hebrew",
    "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "swe7", "tis620",
]  # fmt: skip
DOUBLE = ["big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis", "ujis"]
TRIPLE = ("eucjpms", "ujis")

# The codes of each form, as an SQL expression of n, and how many.
FORMS = {
    1: ("LPAD(HEX(n), 2, '0')", 256),
    2: ("LPAD(HEX(n + 32768), 4, '0')", 32768),
    3: ("CONCAT('8F', LPAD(HEX(n + 32768), 4, '0'))", 32768),
    4: ("CONCAT(HEX(129 + n DIV 12600), HEX(48 + n DIV 1260 % 10), HEX(129 + n DIV 10 % 126), HEX(48 + n % 10))", 39420),
}


def forms(charset: str) -> list[int]:
    """The lengths of the set's codes, those of computed codes aside."""
    if charset in SINGLE:
        return [1]
    return [1, 2, *([3] if charset in TRIPLE else [4] if charset == "gb18030" else [])]


def codes(connection: Any, charset: str, form: int) -> dict[bytes, str]:
    """Every code of this length, with the character that the server makes of it; `?` where it makes none."""
    expression, count = FORMS[form]
    digits = "(" + " UNION ALL ".join(f"SELECT {d} AS d" for d in range(16)) + ")"
    numbers = f"SELECT a.d + 16 * b.d + 256 * c.d + 4096 * e.d AS n FROM {digits} a, {digits} b, {digits} c, {digits} e"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {expression}, HEX(CONVERT(CONVERT(UNHEX({expression}) USING {charset}) USING utf8mb4))"
            f" FROM ({numbers}) AS numbers WHERE n < {count}"
        )
        shown = {bytes.fromhex(code): bytes.fromhex(text or "3F").decode() for code, text in cursor.fetchall()}
    return {code: text if len(text) == 1 else "?" for code, text in shown.items()}


def tables(told: dict[int, dict[bytes, str]]) -> tuple[bytes, bytes]:
    """The bytes of charsets.Tables."""
    single = [ord(told[1][bytes([i])]) for i in range(256)]
    if 2 not in told:
        return struct.pack("<256H", *single), b""
    more = [0] * (65536 + (65536 if 3 in told else GB18030_BMP_CODES if 4 in told else 0))
    for form, codes_of_form in told.items():
        if form == 1:
            continue
        for order, (code, text) in enumerate(sorted(codes_of_form.items())):
            if text != "?":
                more[65536 + order if form == 4 else int.from_bytes(code) - (0x8F0000 - 65536 if form == 3 else 0)] = ord(text)
                single[code[0]] = LEAD
    return struct.pack("<256H", *single), struct.pack(f"<{len(more)}H", *more)


def main() -> None:
    found = {}
    with MariaDB() as mariadb, MySQL() as mysql, mariadb.connect() as one, mysql.connect() as other:
        for charset in SINGLE + DOUBLE:
            told = {form: codes(other, charset, form) for form in forms(charset)}
            if charset != "gb18030":  # which MariaDB does not have
                assert told == {form: codes(one, charset, form) for form in forms(charset)}, charset
            found[charset] = tables(told)
    packed = lzma.compress(msgpack.packb(found), preset=9 | lzma.PRESET_EXTREME)
    TARGET.write_bytes(packed)
    print(f"{TARGET}: {len(found)} sets, {len(packed)} bytes")


if __name__ == "__main__":
    main()
