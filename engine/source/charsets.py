"""The servers' character sets: which one a collation has, and their tables of codes.

`charsets.bin` holds, for every set whose codes are not computed, what MariaDB 10.11 and MySQL 9.7 themselves make of each code;
tests/data/make_charsets.py asks them and writes it. The sets of Unicode need no table. `_text.h` converts by these tables.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgpack

from engine.errors import BinlogError

# Collation ids of each character set: SELECT id, character_set_name FROM information_schema.collation_character_set_applicability
# on MariaDB 10.11 and FROM information_schema.collations on MySQL 9.7. No id means different sets in the two.
COLLATIONS = {
    "armscii8": "32,64,1056,1088",
    "ascii": "11,65,1035,1089",
    "big5": "1,84,1025,1108",
    "binary": "63",
    "cp1250": "26,34,44,66,99,1050,1090",
    "cp1251": "14,23,50-52,1074-1075",
    "cp1256": "57,67,1081,1091",
    "cp1257": "29,58-59,1082-1083",
    "cp850": "4,80,1028,1104",
    "cp852": "40,81,1064,1105",
    "cp866": "36,68,1060,1092",
    "cp932": "95-96,1119-1120",
    "dec8": "3,69,1027,1093",
    "eucjpms": "97-98,1121-1122",
    "euckr": "19,85,1043,1109",
    "gb18030": "248-250",
    "gb2312": "24,86,1048,1110",
    "gbk": "28,87,1052,1111",
    "geostd8": "92-93,1116-1117",
    "greek": "25,70,1049,1094",
    "hebrew": "16,71,1040,1095",
    "hp8": "6,72,1030,1096",
    "keybcs2": "37,73,1061,1097",
    "koi8r": "7,74,1031,1098",
    "koi8u": "22,75,1046,1099",
    "latin1": "5,8,15,31,47-49,94,1032,1071",
    "latin2": "2,9,21,27,77,1033,1101",
    "latin5": "30,78,1054,1102",
    "latin7": "20,41-42,79,1065,1103",
    "macce": "38,43,1062,1067",
    "macroman": "39,53,1063,1077",
    "sjis": "13,88,1037,1112",
    "swe7": "10,82,1034,1106",
    "tis620": "18,89,1042,1113",
    "ucs2": "35,90,128-151,159,640-642,1059,1114,1152,1174,2560-2727,2744-2759",
    "ujis": "12,91,1036,1115",
    "utf16": "54-55,101-124,672-674,1078-1079,1125,1147,2816-2983,3000-3015",
    "utf16le": "56,62,1080,1086",
    "utf32": "60-61,160-183,736-738,1084-1085,1184,1206,3072-3239,3256-3271",
    "utf8mb3": "33,76,83,192-215,223,576-578,1057,1107,1216,1238,2048-2215,2232-2247",
    "utf8mb4": "45-46,224-247,255-323,608-610,1069-1070,1248,1270,2304-2471,2488-2503",
}
PYTHON_CODECS = {
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
}
CHARACTER_BYTES = {
    "utf8mb4": 4, "utf8mb3": 3, "utf16": 4, "utf16le": 4, "utf32": 4, "ucs2": 2, "gb18030": 4, "ujis": 3, "eucjpms": 3,
    "big5": 2, "cp932": 2, "euckr": 2, "gb2312": 2, "gbk": 2, "sjis": 2,
}  # fmt: skip
ALIASES = {"utf8": "utf8mb3"}  # the name before MySQL 8.0 and MariaDB 10.6

LEAD = 0xFFFF  # in a table of single bytes: the first byte of a longer code
GB18030_BMP_CODES = 39420  # four-byte codes from 81308130 on that are in the BMP
GB18030_SUPPLEMENTARY = 189000  # 90308130, which is U+10000


@dataclass(frozen=True)
class Tables:
    """Codes of one set as UTF-16 units, little-endian. A code that the server does not know is `?`, in `more` 0.

    single: of 256 bytes, LEAD where a longer code begins. more: of 65536 codes of two bytes, then of 65536 codes behind 8f
    (ujis, eucjpms) or of the 39420 four-byte codes of the BMP (gb18030); empty for sets of single bytes.
    """

    single: bytes
    more: bytes

    @property
    def ascii(self) -> bool:
        """Whether bytes below 128 are the ASCII characters."""
        return self.single[:256] == bytes(b for i in range(128) for b in (i, 0))


@cache
def _collation_names() -> dict[int, str]:
    names = {}
    for charset, runs in COLLATIONS.items():
        for run in runs.split(","):
            first, _, last = run.partition("-")
            names.update(dict.fromkeys(range(int(first), int(last or first) + 1), charset))
    return names


def charset_of_collation(collation: int) -> str:
    """The character set of a collation id.

    Raises:
        BinlogError: neither server has such a collation.
    """
    name = _collation_names().get(collation)
    if name is None:
        raise BinlogError(
            "collation is not known",
            collation=collation,
            remedy="convert the column to a collation of MySQL 9.7 or MariaDB 10.11",
        )
    return name


def max_character_bytes(charset: str) -> int:
    """Most bytes of a character, by which `varchar(32)` and its length in bytes differ."""
    return CHARACTER_BYTES.get(ALIASES.get(charset, charset), 1)


@cache
def _all_tables() -> dict[str, tuple[bytes, bytes]]:
    packed = resources.files(__package__).joinpath("charsets.bin").read_bytes()
    return msgpack.unpackb(lzma.decompress(packed))


@cache
def tables(charset: str) -> Tables:
    """The tables of a set that has some.

    Raises:
        BinlogError: no such set.
    """
    found = _all_tables().get(ALIASES.get(charset, charset))
    if found is None:
        raise BinlogError("character set is not known", charset=charset)
    return Tables(*found)


def decode_text(charset: str, data: bytes) -> str:
    """Bytes of a character set as the server converts them; what is no character becomes `?`. For statements and labels.

    Raises:
        BinlogError: no such set.
    """
    charset = ALIASES.get(charset, charset)
    if charset in PYTHON_CODECS:
        return data.decode(PYTHON_CODECS[charset], "replace").replace("\ufffd", "?")
    if charset == "binary":
        return data.decode("utf-8", "replace")
    found = tables(charset)
    if data.isascii() and found.ascii:
        return data.decode("ascii")
    single, more = memoryview(found.single).cast("H"), memoryview(found.more).cast("H")
    out = []
    at = 0
    while at < len(data):
        code, length = single[data[at]], 1
        if code == LEAD:
            code, length = _longer(charset, more, data, at)
        out.append(chr(code) if code or not data[at] else "?")
        at += length
    return "".join(out)


def as_stored(charset: str, text: str) -> str:
    """What the server makes of labels: a character that a single-byte set lacks becomes `?`; other sets are taken to have all."""
    charset = ALIASES.get(charset, charset)
    if charset in PYTHON_CODECS or charset == "binary" or text.isascii():
        return text
    known = set(memoryview(tables(charset).single).cast("H"))
    return text if LEAD in known else "".join(char if ord(char) in known else "?" for char in text)


def _longer(charset: str, more: memoryview, data: bytes, at: int) -> tuple[int, int]:
    """The code (0: none) of the character that begins with a lead byte, and its length."""
    rest = data[at : at + 4]
    if charset == "gb18030" and len(rest) == 4 and rest[1] in range(0x30, 0x3A) and rest[3] in range(0x30, 0x3A):
        linear = ((rest[0] - 0x81) * 10 + rest[1] - 0x30) * 1260 + (rest[2] - 0x81) * 10 + rest[3] - 0x30
        if 0 <= linear < GB18030_BMP_CODES:
            return more[65536 + linear], 4
        beyond = linear - GB18030_SUPPLEMENTARY
        return (0x10000 + beyond if 0 <= beyond < 0x100000 else 0), 4
    if charset in ("ujis", "eucjpms") and rest[0] == 0x8F:
        return (more[65536 + (rest[1] << 8 | rest[2])], 3) if len(rest) > 2 else (0, 1)
    return (more[rest[0] << 8 | rest[1]], 2) if len(rest) > 1 else (0, 1)
