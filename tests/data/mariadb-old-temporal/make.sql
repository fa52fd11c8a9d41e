-- mysql56_temporal_format OFF: DATETIME, TIMESTAMP and TIME as they were before MySQL 5.6, with and without fractions.
SET GLOBAL mysql56_temporal_format = OFF;
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET timestamp = 1767323045;

CREATE DATABASE small CHARACTER SET utf8mb4;
USE small;
CREATE TABLE t (id INT PRIMARY KEY, d DATETIME, s TIMESTAMP NULL, t TIME);
INSERT INTO t VALUES (1, '2026-01-02 03:04:05', '2026-01-02 03:04:05', '-12:34:56'), (2, '0000-00-00 00:00:00', NULL, '838:59:59'), (3, '9999-12-31 23:59:59', '1970-01-01 00:00:01', '-838:59:59');
UPDATE t SET t = '00:00:00' WHERE id = 2;
