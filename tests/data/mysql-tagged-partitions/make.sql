-- Tagged GTIDs, partitions (whose numbers ROWS events carry as extra data), rows-query events, no checksums.
SET GLOBAL binlog_checksum = NONE;
SET SESSION gtid_next = 'AUTOMATIC:a_tag';
SET SESSION binlog_rows_query_log_events = ON;
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET timestamp = 1767323045;
CREATE DATABASE small CHARACTER SET utf8mb4;
USE small;
CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, s VARCHAR(40), x TEXT, b BLOB, n DECIMAL(10,2), d DATETIME(3));

INSERT INTO t VALUES (1, 'one', REPEAT('text ', 40), x'00ff10', 1.50, '2026-01-02 03:04:05.678'), (2, 'é日本', NULL, '', -0.05, NULL), (3, '', '', NULL, NULL, '0001-01-01 00:00:00');
UPDATE t SET s = 'changed', n = n + 1 WHERE id < 3;
UPDATE t SET id = id + 100 WHERE id = 3;
UPDATE t SET x = REPEAT('long ', 300), b = NULL WHERE id = 1;
BEGIN;
INSERT INTO t SELECT id + 1000, s, x, b, n, d FROM t;
DELETE FROM t WHERE id = 2;
COMMIT;
DELETE FROM t WHERE id > 1000 AND id < 1003;

CREATE TABLE p (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (100));
INSERT INTO p VALUES (1, 1), (50, 2);
UPDATE p SET id = 60 WHERE id = 1;
DELETE FROM p WHERE id = 50;
