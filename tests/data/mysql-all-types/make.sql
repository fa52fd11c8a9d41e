-- Every column type that MySQL 9.7 can log, a table for each family: extremes, NULLs and oddities.
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET sql_mode = '';  -- zero dates, values out of range, labels that don't exist
SET timestamp = 1767323045.123456;
CREATE DATABASE types CHARACTER SET utf8mb4;
USE types;

CREATE TABLE integers (
  id INT PRIMARY KEY,
  t TINYINT, tu TINYINT UNSIGNED, s SMALLINT, su SMALLINT UNSIGNED, m MEDIUMINT, mu MEDIUMINT UNSIGNED,
  i INT, iu INT UNSIGNED, b BIGINT, bu BIGINT UNSIGNED, bo BOOLEAN, z INT(8) ZEROFILL, y YEAR
);
INSERT INTO integers VALUES
  (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  (2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 42, 1970),
  (3, -1, 127, -1, 32767, -1, 8388607, -1, 2147483647, -1, 9223372036854775807, TRUE, 99999999, 2026),
  (4, -128, 255, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615, 127, 4294967295, 2155),
  (5, 127, 128, 32767, 32768, 8388607, 8388608, 2147483647, 2147483648, 9223372036854775807, 9223372036854775808, -128, 1, 1901),
  (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, -33, 200, -129, 256, -32769, 65536, -8388609, 16777216, -2147483649, 4294967296, FALSE, 1234, 1999),
  (-2147483648, 32, 31, 300, 300, 70000, 70000, 70000, 70000, 70000, 70000, 2, 7, 2000);

CREATE TABLE floats (
  id INT PRIMARY KEY, f FLOAT, d DOUBLE, fu FLOAT UNSIGNED, du DOUBLE UNSIGNED, f73 FLOAT(7,3), d104 DOUBLE(10,4)
);
INSERT INTO floats VALUES
  (1, 0, 0, 0, 0, 0, 0),
  (2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
  (3, -1.5, -1.5, 1.5, 1.5, -1234.567, -123456.7891),
  (4, 3.402823466E38, 1.7976931348623157E308, 3.402823466E38, 1.7976931348623157E308, 9999.999, 999999.9999),
  (5, -3.402823466E38, -1.7976931348623157E308, 1.175494351E-38, 2.2250738585072014E-308, -9999.999, -999999.9999),
  (6, 1.175494351E-38, 2.2250738585072014E-308, 16777217, 9007199254740993, 3.1415926, 3.1415926),
  (7, NULL, NULL, NULL, NULL, NULL, NULL),
  (8, 3.141592653589793, 3.141592653589793, 1e10, 1e100, 1e-3, 1e-4);

CREATE TABLE decimals (
  id INT PRIMARY KEY, d1 DECIMAL(1,0), d2 DECIMAL(2,1), d92 DECIMAL(9,2), d10 DECIMAL(10,0), d102 DECIMAL(10,2),
  d189 DECIMAL(18,9), d199 DECIMAL(19,9), d205 DECIMAL(20,5), du DECIMAL(12,3) UNSIGNED, d3030 DECIMAL(30,30), d650 DECIMAL(65,0), d6530 DECIMAL(65,30)
);
INSERT INTO decimals VALUES
  (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  (2, 1, 0.1, 0.01, 1, 0.01, 0.000000001, 0.000000001, 0.00001, 0.001, 0.000000000000000000000000000001, 1, 0.000000000000000000000000000001),
  (3, -1, -0.1, -0.01, -1, -0.5, -0.000000001, -0.000000001, -0.00001, 0.5, -0.000000000000000000000000000001, -1, -0.000000000000000000000000000001),
  (4, 9, 9.9, 9999999.99, 9999999999, 99999999.99, 999999999.999999999, 9999999999.999999999, 999999999999999.99999, 999999999.999, 0.999999999999999999999999999999, 99999999999999999999999999999999999999999999999999999999999999999, 99999999999999999999999999999999999.999999999999999999999999999999),
  (5, -9, -9.9, -9999999.99, -9999999999, -99999999.99, -999999999.999999999, -9999999999.999999999, -999999999999999.99999, 0, -0.999999999999999999999999999999, -99999999999999999999999999999999999999999999999999999999999999999, -99999999999999999999999999999999999.999999999999999999999999999999),
  (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, 5, 1.5, 1000000.00, 1000000000, 10000000.10, 123456789.987654321, 1000000000.000000001, 100000.00010, 123456.789, 0.123456789, 100000000000000000000000000000, 1234567890.0987654321),
  (8, -5, -1.5, -1234567.89, -1234567890, -0.05, -100000000.1, -0.1, -10.5, 1, -0.5, -12345678901234567890, -100000000000000000.5);

CREATE TABLE bits (id INT PRIMARY KEY, b1 BIT, b7 BIT(7), b8 BIT(8), b9 BIT(9), b16 BIT(16), b33 BIT(33), b63 BIT(63), b64 BIT(64));
INSERT INTO bits VALUES
  (1, 0, 0, 0, 0, 0, 0, 0, 0),
  (2, 1, 1, 1, 1, 1, 1, 1, 1),
  (3, 1, 127, 255, 511, 65535, 8589934591, 9223372036854775807, 18446744073709551615),
  (4, 0, 64, 128, 256, 32768, 4294967296, 4611686018427387904, 9223372036854775808),
  (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, 1, 85, 170, 341, 43690, 5726623061, 6148914691236517205, 12297829382473034410);

CREATE TABLE datetimes (id INT PRIMARY KEY, d0 DATETIME(0) NULL, d1 DATETIME(1) NULL, d2 DATETIME(2) NULL, d3 DATETIME(3) NULL, d4 DATETIME(4) NULL, d5 DATETIME(5) NULL, d6 DATETIME(6) NULL);
INSERT INTO datetimes VALUES
  (1, '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901'),
  (2, '9999-12-31 23:59:59', '9999-12-31 23:59:59', '9999-12-31 23:59:59', '9999-12-31 23:59:59', '9999-12-31 23:59:59', '9999-12-31 23:59:59', '9999-12-31 23:59:59'),
  (3, '1000-01-01 00:00:00', '1000-01-01 00:00:00', '1000-01-01 00:00:00', '1000-01-01 00:00:00', '1000-01-01 00:00:00', '1000-01-01 00:00:00', '1000-01-01 00:00:00'),
  (4, '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'),
  (5, '2026-02-00 00:00:00', '2026-02-00 00:00:00', '2026-02-00 00:00:00', '2026-02-00 00:00:00', '2026-02-00 00:00:00', '2026-02-00 00:00:00', '2026-02-00 00:00:00'),
  (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, '0001-01-01 00:00:00.000001', '0001-01-01 00:00:00.000001', '0001-01-01 00:00:00.000001', '0001-01-01 00:00:00.000001', '0001-01-01 00:00:00.000001', '0001-01-01 00:00:00.000001', '0001-01-01 00:00:00.000001'),
  (8, '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5', '1969-12-31 23:59:59.5'),
  (9, '2024-02-29 12:00:00.000009', '2024-02-29 12:00:00.000009', '2024-02-29 12:00:00.000009', '2024-02-29 12:00:00.000009', '2024-02-29 12:00:00.000009', '2024-02-29 12:00:00.000009', '2024-02-29 12:00:00.000009'),
  (10, '2026-00-15 10:11:12.9', '2026-00-15 10:11:12.9', '2026-00-15 10:11:12.9', '2026-00-15 10:11:12.9', '2026-00-15 10:11:12.9', '2026-00-15 10:11:12.9', '2026-00-15 10:11:12.9');

CREATE TABLE timestamps (id INT PRIMARY KEY, t0 TIMESTAMP(0) NULL, t1 TIMESTAMP(1) NULL, t2 TIMESTAMP(2) NULL, t3 TIMESTAMP(3) NULL, t4 TIMESTAMP(4) NULL, t5 TIMESTAMP(5) NULL, t6 TIMESTAMP(6) NULL);
INSERT INTO timestamps VALUES
  (1, '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901'),
  (2, '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01'),
  (3, '2038-01-19 03:14:07.0', '2038-01-19 03:14:07.0', '2038-01-19 03:14:07.0', '2038-01-19 03:14:07.0', '2038-01-19 03:14:07.0', '2038-01-19 03:14:07.0', '2038-01-19 03:14:07.0'),
  (4, '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'),
  (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, '2001-09-09 01:46:40.000001', '2001-09-09 01:46:40.000001', '2001-09-09 01:46:40.000001', '2001-09-09 01:46:40.000001', '2001-09-09 01:46:40.000001', '2001-09-09 01:46:40.000001', '2001-09-09 01:46:40.000001'),
  (7, '1999-12-31 23:59:58.5', '1999-12-31 23:59:58.5', '1999-12-31 23:59:58.5', '1999-12-31 23:59:58.5', '1999-12-31 23:59:58.5', '1999-12-31 23:59:58.5', '1999-12-31 23:59:58.5');

CREATE TABLE times (id INT PRIMARY KEY, t0 TIME(0) NULL, t1 TIME(1) NULL, t2 TIME(2) NULL, t3 TIME(3) NULL, t4 TIME(4) NULL, t5 TIME(5) NULL, t6 TIME(6) NULL);
INSERT INTO times VALUES
  (1, '00:00:00', '00:00:00', '00:00:00', '00:00:00', '00:00:00', '00:00:00', '00:00:00'),
  (2, '01:02:03.456789', '01:02:03.456789', '01:02:03.456789', '01:02:03.456789', '01:02:03.456789', '01:02:03.456789', '01:02:03.456789'),
  (3, '-01:02:03.456789', '-01:02:03.456789', '-01:02:03.456789', '-01:02:03.456789', '-01:02:03.456789', '-01:02:03.456789', '-01:02:03.456789'),
  (4, '838:59:59', '838:59:59', '838:59:59', '838:59:59', '838:59:59', '838:59:59', '838:59:59'),
  (5, '-838:59:59', '-838:59:59', '-838:59:59', '-838:59:59', '-838:59:59', '-838:59:59', '-838:59:59'),
  (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, '-00:00:00.100000', '-00:00:00.100000', '-00:00:00.100000', '-00:00:00.100000', '-00:00:00.100000', '-00:00:00.100000', '-00:00:00.100000'),
  (8, '-01:00:00.1', '-01:00:00.1', '-01:00:00.1', '-01:00:00.1', '-01:00:00.1', '-01:00:00.1', '-01:00:00.1'),
  (9, '00:00:00.000001', '00:00:00.000001', '00:00:00.000001', '00:00:00.000001', '00:00:00.000001', '00:00:00.000001', '00:00:00.000001'),
  (10, '-00:00:00.000001', '-00:00:00.000001', '-00:00:00.000001', '-00:00:00.000001', '-00:00:00.000001', '-00:00:00.000001', '-00:00:00.000001'),
  (11, '23:59:58.999999', '23:59:58.999999', '23:59:58.999999', '23:59:58.999999', '23:59:58.999999', '23:59:58.999999', '23:59:58.999999'),
  (12, '-12:34:56.9', '-12:34:56.9', '-12:34:56.9', '-12:34:56.9', '-12:34:56.9', '-12:34:56.9', '-12:34:56.9'),
  (13, '-00:00:01', '-00:00:01', '-00:00:01', '-00:00:01', '-00:00:01', '-00:00:01', '-00:00:01'),
  (14, '100:00:00.05', '100:00:00.05', '100:00:00.05', '100:00:00.05', '100:00:00.05', '100:00:00.05', '100:00:00.05');

CREATE TABLE dates (id INT PRIMARY KEY, d DATE);
INSERT INTO dates VALUES (1, '2026-01-02'), (2, '1000-01-01'), (3, '9999-12-31'), (4, '0000-00-00'), (5, '2026-00-00'), (6, '2026-11-00'), (7, NULL), (8, '0001-01-01'), (9, '2024-02-29'), (10, '0000-01-01'), (11, '1582-10-10');

CREATE TABLE texts (
  id INT PRIMARY KEY,
  c_utf8mb4 CHAR(20) CHARACTER SET utf8mb4, v_utf8mb4 VARCHAR(40) CHARACTER SET utf8mb4, t_utf8mb4 TEXT CHARACTER SET utf8mb4,
  c_latin1 CHAR(20) CHARACTER SET latin1, v_latin1 VARCHAR(40) CHARACTER SET latin1, t_latin1 TEXT CHARACTER SET latin1,
  c_gbk CHAR(20) CHARACTER SET gbk, v_gbk VARCHAR(40) CHARACTER SET gbk, t_gbk TEXT CHARACTER SET gbk,
  c_sjis CHAR(20) CHARACTER SET sjis, v_sjis VARCHAR(40) CHARACTER SET sjis, t_sjis TEXT CHARACTER SET sjis,
  c_ucs2 CHAR(20) CHARACTER SET ucs2, v_ucs2 VARCHAR(40) CHARACTER SET ucs2, t_ucs2 TEXT CHARACTER SET ucs2,
  c_utf16 CHAR(20) CHARACTER SET utf16, v_utf16 VARCHAR(40) CHARACTER SET utf16, t_utf16 TEXT CHARACTER SET utf16,
  c_utf32 CHAR(20) CHARACTER SET utf32, v_utf32 VARCHAR(40) CHARACTER SET utf32, t_utf32 TEXT CHARACTER SET utf32
);
INSERT INTO texts VALUES
  (1, 'naïve Ωmega 名前 🐙', 'naïve Ωmega 名前 🐙', 'naïve Ωmega 名前 🐙', 'Grüße € … ÿ', 'Grüße € … ÿ', 'Grüße € … ÿ', '简体中文 丂', '简体中文 丂', '简体中文 丂', 'ｶﾀｶﾅ 日本語 表示', 'ｶﾀｶﾅ 日本語 表示', 'ｶﾀｶﾅ 日本語 表示', 'Ελλάδα 名', 'Ελλάδα 名', 'Ελλάδα 名', '🐙 ﬁ 名', '🐙 ﬁ 名', '🐙 ﬁ 名', '🎧 z 漢字', '🎧 z 漢字', '🎧 z 漢字'),
  (2, '''quoted'' \\ back', '''quoted'' \\ back', '''quoted'' \\ back', 'plain', 'plain', 'plain', '混合 text 1', '混合 text 1', '混合 text 1', 'ソ能', 'ソ能', 'ソ能', 'x', 'x', 'x', 'y', 'y', 'y', 'z', 'z', 'z'),
  (3, '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', ''),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ', 'trailing  ');

-- Length prefixes of one, two, three and four bytes; CHAR beyond 255 bytes hides two bits of its length in its type.
CREATE TABLE lengths (
  id INT PRIMARY KEY, c1 CHAR(1), c63 CHAR(63), c64 CHAR(64), c200 CHAR(200), c255 CHAR(255), l255 CHAR(255) CHARACTER SET latin1,
  v255 VARCHAR(255) CHARACTER SET latin1, v256 VARCHAR(256) CHARACTER SET latin1, v5000 VARCHAR(5000), tt TINYTEXT, t TEXT, mt MEDIUMTEXT, lt LONGTEXT
);
INSERT INTO lengths VALUES
  (1, 'a', REPEAT('b', 63), REPEAT('c', 64), REPEAT('d', 200), REPEAT('e', 255), REPEAT('f', 255), REPEAT('g', 255), REPEAT('h', 256), REPEAT('i', 5000), REPEAT('j', 255), REPEAT('k', 300), REPEAT('l', 300), REPEAT('m', 300)),
  (2, '🐙', REPEAT('🐙', 63), REPEAT('名', 64), REPEAT('名', 200), REPEAT('🐙', 255), REPEAT('é', 255), REPEAT('é', 255), REPEAT('é', 256), REPEAT('é', 127), REPEAT('é', 127), REPEAT('名', 85), REPEAT('🐙', 64), REPEAT('é', 33000)),
  (3, '', '', '', '', '', '', '', '', '', '', '', '', ''),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, ' ', 'x ', ' x', REPEAT('y', 31), REPEAT('y', 32), REPEAT('y', 33), REPEAT('y', 254), REPEAT('y', 255), REPEAT('y', 256), 'y', REPEAT('y', 65535), REPEAT('y', 65536), 'y');

-- The same in every character set that the server has.
CREATE TABLE charsets (
  id INT PRIMARY KEY,
  c_armscii8 CHAR(30) CHARACTER SET armscii8, v_armscii8 VARCHAR(60) CHARACTER SET armscii8, e_armscii8 ENUM('a', 'Հայաստան') CHARACTER SET armscii8,
  c_ascii CHAR(30) CHARACTER SET ascii, v_ascii VARCHAR(60) CHARACTER SET ascii, e_ascii ENUM('a', 'only ASCII ~') CHARACTER SET ascii,
  c_big5 CHAR(30) CHARACTER SET big5, v_big5 VARCHAR(60) CHARACTER SET big5, e_big5 ENUM('a', '繁體中文 功') CHARACTER SET big5,
  c_cp1250 CHAR(30) CHARACTER SET cp1250, v_cp1250 VARCHAR(60) CHARACTER SET cp1250, e_cp1250 ENUM('a', 'Žluťoučký kůň') CHARACTER SET cp1250,
  c_cp1251 CHAR(30) CHARACTER SET cp1251, v_cp1251 VARCHAR(60) CHARACTER SET cp1251, e_cp1251 ENUM('a', 'Съешь ещё') CHARACTER SET cp1251,
  c_cp1256 CHAR(30) CHARACTER SET cp1256, v_cp1256 VARCHAR(60) CHARACTER SET cp1256, e_cp1256 ENUM('a', 'مرحبا') CHARACTER SET cp1256,
  c_cp1257 CHAR(30) CHARACTER SET cp1257, v_cp1257 VARCHAR(60) CHARACTER SET cp1257, e_cp1257 ENUM('a', 'Ąžuolas šviesa') CHARACTER SET cp1257,
  c_cp850 CHAR(30) CHARACTER SET cp850, v_cp850 VARCHAR(60) CHARACTER SET cp850, e_cp850 ENUM('a', 'ñandú ░▒▓') CHARACTER SET cp850,
  c_cp852 CHAR(30) CHARACTER SET cp852, v_cp852 VARCHAR(60) CHARACTER SET cp852, e_cp852 ENUM('a', 'Příliš žluťoučký') CHARACTER SET cp852,
  c_cp866 CHAR(30) CHARACTER SET cp866, v_cp866 VARCHAR(60) CHARACTER SET cp866, e_cp866 ENUM('a', 'Привет ░▒') CHARACTER SET cp866,
  c_cp932 CHAR(30) CHARACTER SET cp932, v_cp932 VARCHAR(60) CHARACTER SET cp932, e_cp932 ENUM('a', '日本語 ① ～ 髙') CHARACTER SET cp932,
  c_dec8 CHAR(30) CHARACTER SET dec8, v_dec8 VARCHAR(60) CHARACTER SET dec8, e_dec8 ENUM('a', 'Größe ÿ') CHARACTER SET dec8,
  c_eucjpms CHAR(30) CHARACTER SET eucjpms, v_eucjpms VARCHAR(60) CHARACTER SET eucjpms, e_eucjpms ENUM('a', '日本語 ① 髙') CHARACTER SET eucjpms,
  c_euckr CHAR(30) CHARACTER SET euckr, v_euckr VARCHAR(60) CHARACTER SET euckr, e_euckr ENUM('a', '안녕하세요') CHARACTER SET euckr,
  c_gb2312 CHAR(30) CHARACTER SET gb2312, v_gb2312 VARCHAR(60) CHARACTER SET gb2312, e_gb2312 ENUM('a', '简体中文') CHARACTER SET gb2312,
  c_gbk CHAR(30) CHARACTER SET gbk, v_gbk VARCHAR(60) CHARACTER SET gbk, e_gbk ENUM('a', '简体 丂') CHARACTER SET gbk,
  c_geostd8 CHAR(30) CHARACTER SET geostd8, v_geostd8 VARCHAR(60) CHARACTER SET geostd8, e_geostd8 ENUM('a', 'საქართველო') CHARACTER SET geostd8,
  c_greek CHAR(30) CHARACTER SET greek, v_greek VARCHAR(60) CHARACTER SET greek, e_greek ENUM('a', 'Ελληνικά') CHARACTER SET greek,
  c_hebrew CHAR(30) CHARACTER SET hebrew, v_hebrew VARCHAR(60) CHARACTER SET hebrew, e_hebrew ENUM('a', 'שלום עולם') CHARACTER SET hebrew,
  c_hp8 CHAR(30) CHARACTER SET hp8, v_hp8 VARCHAR(60) CHARACTER SET hp8, e_hp8 ENUM('a', 'Größe Ÿ') CHARACTER SET hp8,
  c_keybcs2 CHAR(30) CHARACTER SET keybcs2, v_keybcs2 VARCHAR(60) CHARACTER SET keybcs2, e_keybcs2 ENUM('a', 'Žluťoučký') CHARACTER SET keybcs2,
  c_koi8r CHAR(30) CHARACTER SET koi8r, v_koi8r VARCHAR(60) CHARACTER SET koi8r, e_koi8r ENUM('a', 'Привет') CHARACTER SET koi8r,
  c_koi8u CHAR(30) CHARACTER SET koi8u, v_koi8u VARCHAR(60) CHARACTER SET koi8u, e_koi8u ENUM('a', 'Привіт ґ') CHARACTER SET koi8u,
  c_latin1 CHAR(30) CHARACTER SET latin1, v_latin1 VARCHAR(60) CHARACTER SET latin1, e_latin1 ENUM('a', 'Grüße €') CHARACTER SET latin1,
  c_latin2 CHAR(30) CHARACTER SET latin2, v_latin2 VARCHAR(60) CHARACTER SET latin2, e_latin2 ENUM('a', 'Zażółć gęślą') CHARACTER SET latin2,
  c_latin5 CHAR(30) CHARACTER SET latin5, v_latin5 VARCHAR(60) CHARACTER SET latin5, e_latin5 ENUM('a', 'İstanbul ğ') CHARACTER SET latin5,
  c_latin7 CHAR(30) CHARACTER SET latin7, v_latin7 VARCHAR(60) CHARACTER SET latin7, e_latin7 ENUM('a', 'Ąžuolas') CHARACTER SET latin7,
  c_macce CHAR(30) CHARACTER SET macce, v_macce VARCHAR(60) CHARACTER SET macce, e_macce ENUM('a', 'Žluťoučký') CHARACTER SET macce,
  c_macroman CHAR(30) CHARACTER SET macroman, v_macroman VARCHAR(60) CHARACTER SET macroman, e_macroman ENUM('a', 'Ångström ﬁ') CHARACTER SET macroman,
  c_sjis CHAR(30) CHARACTER SET sjis, v_sjis VARCHAR(60) CHARACTER SET sjis, e_sjis ENUM('a', '日本語 ソ') CHARACTER SET sjis,
  c_swe7 CHAR(30) CHARACTER SET swe7, v_swe7 VARCHAR(60) CHARACTER SET swe7, e_swe7 ENUM('a', 'Åke Öberg') CHARACTER SET swe7,
  c_tis620 CHAR(30) CHARACTER SET tis620, v_tis620 VARCHAR(60) CHARACTER SET tis620, e_tis620 ENUM('a', 'ภาษาไทย') CHARACTER SET tis620,
  c_ucs2 CHAR(30) CHARACTER SET ucs2, v_ucs2 VARCHAR(60) CHARACTER SET ucs2, e_ucs2 ENUM('a', 'Ωmega 名') CHARACTER SET ucs2,
  c_ujis CHAR(30) CHARACTER SET ujis, v_ujis VARCHAR(60) CHARACTER SET ujis, e_ujis ENUM('a', '日本語 亜') CHARACTER SET ujis,
  c_utf16 CHAR(30) CHARACTER SET utf16, v_utf16 VARCHAR(60) CHARACTER SET utf16, e_utf16 ENUM('a', '🐙 名') CHARACTER SET utf16,
  c_utf16le CHAR(30) CHARACTER SET utf16le, v_utf16le VARCHAR(60) CHARACTER SET utf16le, e_utf16le ENUM('a', '🐙 名') CHARACTER SET utf16le,
  c_utf32 CHAR(30) CHARACTER SET utf32, v_utf32 VARCHAR(60) CHARACTER SET utf32, e_utf32 ENUM('a', '🐙 名') CHARACTER SET utf32,
  c_utf8mb3 CHAR(30) CHARACTER SET utf8mb3, v_utf8mb3 VARCHAR(60) CHARACTER SET utf8mb3, e_utf8mb3 ENUM('a', 'Ωmega 名') CHARACTER SET utf8mb3,
  c_utf8mb4 CHAR(30) CHARACTER SET utf8mb4, v_utf8mb4 VARCHAR(60) CHARACTER SET utf8mb4, e_utf8mb4 ENUM('a', '🐙 名') CHARACTER SET utf8mb4,
  c_gb18030 CHAR(30) CHARACTER SET gb18030, v_gb18030 VARCHAR(60) CHARACTER SET gb18030, e_gb18030 ENUM('a', '简体 𠀀 🐙') CHARACTER SET gb18030
);
INSERT INTO charsets VALUES
  (1, 'Հայաստան', 'Հայաստան', 'Հայաստան', 'only ASCII ~', 'only ASCII ~', 'only ASCII ~', '繁體中文 功', '繁體中文 功', '繁體中文 功', 'Žluťoučký kůň', 'Žluťoučký kůň', 'Žluťoučký kůň', 'Съешь ещё', 'Съешь ещё', 'Съешь ещё', 'مرحبا', 'مرحبا', 'مرحبا', 'Ąžuolas šviesa', 'Ąžuolas šviesa', 'Ąžuolas šviesa', 'ñandú ░▒▓', 'ñandú ░▒▓', 'ñandú ░▒▓', 'Příliš žluťoučký', 'Příliš žluťoučký', 'Příliš žluťoučký', 'Привет ░▒', 'Привет ░▒', 'Привет ░▒', '日本語 ① ～ 髙', '日本語 ① ～ 髙', '日本語 ① ～ 髙', 'Größe ÿ', 'Größe ÿ', 'Größe ÿ', '日本語 ① 髙', '日本語 ① 髙', '日本語 ① 髙', '안녕하세요', '안녕하세요', '안녕하세요', '简体中文', '简体中文', '简体中文', '简体 丂', '简体 丂', '简体 丂', 'საქართველო', 'საქართველო', 'საქართველო', 'Ελληνικά', 'Ελληνικά', 'Ελληνικά', 'שלום עולם', 'שלום עולם', 'שלום עולם', 'Größe Ÿ', 'Größe Ÿ', 'Größe Ÿ', 'Žluťoučký', 'Žluťoučký', 'Žluťoučký', 'Привет', 'Привет', 'Привет', 'Привіт ґ', 'Привіт ґ', 'Привіт ґ', 'Grüße €', 'Grüße €', 'Grüße €', 'Zażółć gęślą', 'Zażółć gęślą', 'Zażółć gęślą', 'İstanbul ğ', 'İstanbul ğ', 'İstanbul ğ', 'Ąžuolas', 'Ąžuolas', 'Ąžuolas', 'Žluťoučký', 'Žluťoučký', 'Žluťoučký', 'Ångström ﬁ', 'Ångström ﬁ', 'Ångström ﬁ', '日本語 ソ', '日本語 ソ', '日本語 ソ', 'Åke Öberg', 'Åke Öberg', 'Åke Öberg', 'ภาษาไทย', 'ภาษาไทย', 'ภาษาไทย', 'Ωmega 名', 'Ωmega 名', 'Ωmega 名', '日本語 亜', '日本語 亜', '日本語 亜', '🐙 名', '🐙 名', '🐙 名', '🐙 名', '🐙 名', '🐙 名', '🐙 名', '🐙 名', '🐙 名', 'Ωmega 名', 'Ωmega 名', 'Ωmega 名', '🐙 名', '🐙 名', '🐙 名', '简体 𠀀 🐙', '简体 𠀀 🐙', '简体 𠀀 🐙'),
  (2, 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE binaries (
  id INT PRIMARY KEY, b1 BINARY(1), b4 BINARY(4), b16 BINARY(16), b255 BINARY(255), v10 VARBINARY(10), v300 VARBINARY(300),
  tb TINYBLOB, b BLOB, mb MEDIUMBLOB, lb LONGBLOB, cb CHAR(8) CHARACTER SET binary
);
INSERT INTO binaries VALUES
  (1, x'00', x'00000000', x'00', x'00', x'', x'00', x'', x'', x'', x'', x'00'),
  (2, x'ff', x'0102', x'00112233445566778899aabbccddeeff', REPEAT(x'fe', 255), x'00ff00', REPEAT(x'80', 300), REPEAT(x'01', 255), REPEAT(x'02', 256), REPEAT(x'03', 257), REPEAT(x'04', 258), x'c3a9'),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (4, 'a', 'ab ', 'trailing  ', x'610000', x'6100', x'2000', 'plain', x'fffe', 'text', x'c328', 'tail  ');

CREATE TABLE labels (
  id INT PRIMARY KEY, e ENUM('small', 'ünïcode 名', 'with,comma', '') , e300 ENUM('label1', 'label2', 'label3', 'label4', 'label5', 'label6', 'label7', 'label8', 'label9', 'label10', 'label11', 'label12', 'label13', 'label14', 'label15', 'label16', 'label17', 'label18', 'label19', 'label20', 'label21', 'label22', 'label23', 'label24', 'label25', 'label26', 'label27', 'label28', 'label29', 'label30', 'label31', 'label32', 'label33', 'label34', 'label35', 'label36', 'label37', 'label38', 'label39', 'label40', 'label41', 'label42', 'label43', 'label44', 'label45', 'label46', 'label47', 'label48', 'label49', 'label50', 'label51', 'label52', 'label53', 'label54', 'label55', 'label56', 'label57', 'label58', 'label59', 'label60', 'label61', 'label62', 'label63', 'label64', 'label65', 'label66', 'label67', 'label68', 'label69', 'label70', 'label71', 'label72', 'label73', 'label74', 'label75', 'label76', 'label77', 'label78', 'label79', 'label80', 'label81', 'label82', 'label83', 'label84', 'label85', 'label86', 'label87', 'label88', 'label89', 'label90', 'label91', 'label92', 'label93', 'label94', 'label95', 'label96', 'label97', 'label98', 'label99', 'label100', 'label101', 'label102', 'label103', 'label104', 'label105', 'label106', 'label107', 'label108', 'label109', 'label110', 'label111', 'label112', 'label113', 'label114', 'label115', 'label116', 'label117', 'label118', 'label119', 'label120', 'label121', 'label122', 'label123', 'label124', 'label125', 'label126', 'label127', 'label128', 'label129', 'label130', 'label131', 'label132', 'label133', 'label134', 'label135', 'label136', 'label137', 'label138', 'label139', 'label140', 'label141', 'label142', 'label143', 'label144', 'label145', 'label146', 'label147', 'label148', 'label149', 'label150', 'label151', 'label152', 'label153', 'label154', 'label155', 'label156', 'label157', 'label158', 'label159', 'label160', 'label161', 'label162', 'label163', 'label164', 'label165', 'label166', 'label167', 'label168', 'label169', 'label170', 'label171', 'label172', 'label173', 'label174', 'label175', 'label176', 'label177', 'label178', 'label179', 'label180', 'label181', 'label182', 'label183', 'label184', 'label185', 'label186', 'label187', 'label188', 'label189', 'label190', 'label191', 'label192', 'label193', 'label194', 'label195', 'label196', 'label197', 'label198', 'label199', 'label200', 'label201', 'label202', 'label203', 'label204', 'label205', 'label206', 'label207', 'label208', 'label209', 'label210', 'label211', 'label212', 'label213', 'label214', 'label215', 'label216', 'label217', 'label218', 'label219', 'label220', 'label221', 'label222', 'label223', 'label224', 'label225', 'label226', 'label227', 'label228', 'label229', 'label230', 'label231', 'label232', 'label233', 'label234', 'label235', 'label236', 'label237', 'label238', 'label239', 'label240', 'label241', 'label242', 'label243', 'label244', 'label245', 'label246', 'label247', 'label248', 'label249', 'label250', 'label251', 'label252', 'label253', 'label254', 'label255', 'label256', 'label257', 'label258', 'label259', 'label260', 'label261', 'label262', 'label263', 'label264', 'label265', 'label266', 'label267', 'label268', 'label269', 'label270', 'label271', 'label272', 'label273', 'label274', 'label275', 'label276', 'label277', 'label278', 'label279', 'label280', 'label281', 'label282', 'label283', 'label284', 'label285', 'label286', 'label287', 'label288', 'label289', 'label290', 'label291', 'label292', 'label293', 'label294', 'label295', 'label296', 'label297', 'label298', 'label299', 'label300'),
  el ENUM('été', 'etc', '€') CHARACTER SET latin1, eg ENUM('中文', '简') CHARACTER SET gbk, en ENUM('x', 'y') NOT NULL,
  s SET('a', 'b', 'ç'), s8 SET('1', '2', '3', '4', '5', '6', '7', '8'), s9 SET('1', '2', '3', '4', '5', '6', '7', '8', '9'),
  s33 SET('m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8', 'm9', 'm10', 'm11', 'm12', 'm13', 'm14', 'm15', 'm16', 'm17', 'm18', 'm19', 'm20', 'm21', 'm22', 'm23', 'm24', 'm25', 'm26', 'm27', 'm28', 'm29', 'm30', 'm31', 'm32', 'm33'), s64 SET('s1', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9', 's10', 's11', 's12', 's13', 's14', 's15', 's16', 's17', 's18', 's19', 's20', 's21', 's22', 's23', 's24', 's25', 's26', 's27', 's28', 's29', 's30', 's31', 's32', 's33', 's34', 's35', 's36', 's37', 's38', 's39', 's40', 's41', 's42', 's43', 's44', 's45', 's46', 's47', 's48', 's49', 's50', 's51', 's52', 's53', 's54', 's55', 's56', 's57', 's58', 's59', 's60', 's61', 's62', 's63', 's64'), sg SET('中文', '简') CHARACTER SET gbk
);
INSERT INTO labels VALUES
  (1, 'small', 'label1', 'été', '中文', 'x', 'a', '1', '1', 'm1', 's1', '中文'),
  (2, 'ünïcode 名', 'label255', 'etc', '简', 'y', 'a,ç', '1,8', '1,9', 'm33', 's64', '中文,简'),
  (3, 'with,comma', 'label256', '€', '中文', 'x', 'b,ç,a', '1,2,3,4,5,6,7,8', '1,2,3,4,5,6,7,8,9', 'm1,m33,m17', 's1,s2,s3,s4,s5,s6,s7,s8,s9,s10,s11,s12,s13,s14,s15,s16,s17,s18,s19,s20,s21,s22,s23,s24,s25,s26,s27,s28,s29,s30,s31,s32,s33,s34,s35,s36,s37,s38,s39,s40,s41,s42,s43,s44,s45,s46,s47,s48,s49,s50,s51,s52,s53,s54,s55,s56,s57,s58,s59,s60,s61,s62,s63,s64', '简'),
  (4, NULL, NULL, NULL, NULL, 'y', NULL, NULL, NULL, NULL, NULL, NULL),
  (5, '', 'label300', 'été', '简', 'x', '', '', '', '', '', ''),
  (6, 'no such label', 'no such label', 'no', 'no', 'no', 'no such member', '2,no', '9', 'm2,m3', 's32,s33', '');

CREATE TABLE geometries (id INT PRIMARY KEY, g GEOMETRY, p POINT, l LINESTRING, y POLYGON, mp MULTIPOINT, ml MULTILINESTRING, my MULTIPOLYGON, gc GEOMETRYCOLLECTION);
INSERT INTO geometries VALUES
  (1, ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('POINT(-1.5 2.25)'), ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0)'), ST_GeomFromText('POLYGON((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 2 1, 2 2, 1 1))'), ST_GeomFromText('MULTIPOINT(0 0, 1 1)'), ST_GeomFromText('MULTILINESTRING((0 0, 1 1), (2 2, 3 3))'), ST_GeomFromText('MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)))'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))')),
  (2, ST_GeomFromText('POINT(10 20)', 4326), ST_GeomFromText('POINT(52.5 13.4)', 4326), NULL, NULL, NULL, NULL, NULL, NULL),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE computed (id INT PRIMARY KEY, a INT, s INT GENERATED ALWAYS AS (a * 2) STORED, v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, t VARCHAR(20) DEFAULT 'x');
INSERT INTO computed (id, a) VALUES (1, 10), (2, NULL), (3, -5);

-- Nullable columns on both sides of each byte of the null bitmap.
CREATE TABLE nulls (id INT PRIMARY KEY, n1 INT, n2 INT, n3 INT, n4 INT, n5 INT, n6 INT, n7 INT, n8 INT, n9 INT, n10 INT, n11 INT, n12 INT, n13 INT, n14 INT, n15 INT, n16 INT, n17 INT);
INSERT INTO nulls VALUES
  (0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (1, NULL, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
  (2, 1, NULL, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
  (3, 1, 2, NULL, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
  (4, 1, 2, 3, NULL, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
  (5, 1, 2, 3, 4, NULL, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
  (6, 1, 2, 3, 4, 5, NULL, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
  (7, 1, 2, 3, 4, 5, 6, NULL, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
  (8, 1, 2, 3, 4, 5, 6, 7, NULL, 9, 10, 11, 12, 13, 14, 15, 16, 17),
  (9, 1, 2, 3, 4, 5, 6, 7, 8, NULL, 10, 11, 12, 13, 14, 15, 16, 17),
  (10, 1, 2, 3, 4, 5, 6, 7, 8, 9, NULL, 11, 12, 13, 14, 15, 16, 17),
  (11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, NULL, 12, 13, 14, 15, 16, 17),
  (12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, NULL, 13, 14, 15, 16, 17),
  (13, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, NULL, 14, 15, 16, 17),
  (14, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, NULL, 15, 16, 17),
  (15, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, NULL, 16, 17),
  (16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, NULL, 17),
  (17, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, NULL);

CREATE TABLE `näme with ``quotes``, 名 and spaces` (`id` INT, `col.umn` INT, `名` VARCHAR(10), `UPPER` INT, PRIMARY KEY (`名`, `id`));
INSERT INTO `näme with ``quotes``, 名 and spaces` VALUES (1, 2, 'a', 3), (2, NULL, 'b', 4);

CREATE TABLE documents (id INT PRIMARY KEY, j JSON);
INSERT INTO documents VALUES
  (1, '{"b": 1,  "a": [1, 2.50, "ü🐙", null, true, false]}'), (2, '[]'), (3, '{}'), (4, '"text"'), (5, 'null'), (6, NULL), (7, 'true'), (8, 'false'),
  (10, '0'), (11, '-1'), (12, '32767'), (13, '-32768'), (14, '65535'), (15, '2147483647'), (16, '-2147483648'), (17, '4294967295'),
  (18, '9223372036854775807'), (19, '-9223372036854775808'), (20, '18446744073709551615'), (21, '0.1'), (22, '-1.5e300'), (23, '1e-7'), (24, '3.0'), (25, '18446744073709551616'),
  (30, '[0, -1, 32767, -32768, 32768, 65535, 65536, 2147483648, 4294967296, 9223372036854775808]'),
  (31, '{"zz": 1, "a": 2, "": 3, "longer key": {"x": [{}, [], [[]], {"y": {}}]}, "名": "🐙", "é": "é"}'),
  (32, '"quotes \\" and \\\\ and / and \\n \\t \\b \\f \\r \\u0001 \\u001f \\u007f \\ud83d\\udc19"'),
  (33, '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]'),
  (34, JSON_ARRAY(CAST('2026-01-02' AS DATE), CAST('2026-01-02 03:04:05.678901' AS DATETIME(6)), CAST('-12:34:56.789' AS TIME(3)), CAST('00:00:00' AS TIME))),
  (35, CAST(CAST('2026-01-02' AS DATE) AS JSON)), (36, CAST(CAST('2026-01-02 03:04:05' AS DATETIME) AS JSON)), (37, CAST(CAST('-838:59:59' AS TIME) AS JSON)),
  (38, CAST(CAST(-123.4500 AS DECIMAL(20,4)) AS JSON)), (39, JSON_ARRAY(0.5, -0.50, 12345678901234567890.123456789, 99999999999999999999999999999999999999999999999999999999999999999)),
  (40, JSON_OBJECT('blob', x'00ff10', 'bit', b'101', 'empty', x'')), (41, CAST(x'cafe' AS JSON)), (42, JSON_ARRAY(ST_GeomFromText('POINT(1 2)'))),
  (43, JSON_OBJECT('d', CAST('2026-12-31' AS DATE), 'n', CAST(1.10 AS DECIMAL(5,2)), 'y', CAST(2026 AS YEAR), 'u', CAST(18446744073709551615 AS UNSIGNED))),
  (44, JSON_ARRAY(CAST('0000-00-00' AS DATE), TIMESTAMP('2026-01-02 03:04:05.000001'))),
  (45, '{"a": "x", "bb": "y", "ccc": "z", "aa": 1, "b": 2}');
-- Strings with length prefixes of one, two and three bytes, and documents on both sides of the 64 KiB that make them large.
INSERT INTO documents VALUES (50, JSON_QUOTE(REPEAT('a', 127))), (51, JSON_QUOTE(REPEAT('b', 128))), (52, JSON_QUOTE(REPEAT('c', 16384))),
  (53, JSON_OBJECT('large', REPEAT('d', 70000), 'i', 1, 'l', -5, 'n', NULL, 't', true, 'u', 65535, 'm', 65536)),
  (55, JSON_ARRAY(JSON_OBJECT('inner', REPEAT('f', 66000)), JSON_OBJECT('small', 1)));

CREATE TABLE vectors (id INT PRIMARY KEY, v3 VECTOR(3), v VECTOR(16));
INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1, -2.5, 0.1]'), STRING_TO_VECTOR('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]')), (2, STRING_TO_VECTOR('[0, 3e38, -1e-30]'), STRING_TO_VECTOR('[0.5]')), (3, NULL, NULL);

-- Columns that SELECT * hasn't: an invisible one and a primary key that the server made.
CREATE TABLE invisible (id INT PRIMARY KEY, seen INT, unseen INT DEFAULT 7 INVISIBLE);
INSERT INTO invisible (id, seen) VALUES (1, 10), (2, NULL);
SET sql_generate_invisible_primary_key = ON;
CREATE TABLE keyless (a INT);
INSERT INTO keyless VALUES (1), (2), (2);
