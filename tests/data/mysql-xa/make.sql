-- XA: prepared and committed, rolled back, committed in one phase.
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET timestamp = 1767323045;
CREATE DATABASE small CHARACTER SET utf8mb4;
USE small;
CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, s VARCHAR(40), x TEXT, b BLOB, n DECIMAL(10,2), d DATETIME(3));

XA START 'a', 'branch', 7;
INSERT INTO t VALUES (1, 'committed', NULL, NULL, 1, NULL), (2, 'committed', NULL, NULL, 2, NULL);
UPDATE t SET s = 'changed' WHERE id = 2;
XA END 'a', 'branch', 7;
XA PREPARE 'a', 'branch', 7;
XA COMMIT 'a', 'branch', 7;
XA START 'b';
INSERT INTO t VALUES (3, 'rolled back', NULL, NULL, 3, NULL);
XA END 'b';
XA PREPARE 'b';
XA ROLLBACK 'b';
XA START 'c';
INSERT INTO t VALUES (4, 'one phase', NULL, NULL, 4, NULL);
XA END 'c';
XA COMMIT 'c' ONE PHASE;
DELETE FROM t WHERE id = 1;

