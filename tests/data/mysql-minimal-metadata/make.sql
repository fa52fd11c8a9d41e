-- binlog_row_metadata MINIMAL: names, labels and keys come from the statements in the file.
SET GLOBAL binlog_row_metadata = MINIMAL;
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

ALTER TABLE t ADD COLUMN e ENUM('x', 'y', 'ü') DEFAULT 'y' AFTER id, CHANGE s renamed VARCHAR(40) CHARACTER SET latin1, DROP COLUMN d;
DELETE FROM t;
INSERT INTO t VALUES (9, 'ü', 'é', NULL, NULL, 9.99), (10, 'x', 'ASCII', 'text', x'00', -1);
UPDATE t SET e = 'y' WHERE id = 9;
