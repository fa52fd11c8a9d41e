-- Changes logged as statements, with what they need besides: INTVAR, RAND and USER_VAR events.
SET SESSION binlog_format = STATEMENT;
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET timestamp = 1767323045;

CREATE DATABASE small CHARACTER SET utf8mb4;
USE small;
CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v DOUBLE, s VARCHAR(40));
SET @name = 'é';
INSERT INTO t (v, s) VALUES (1, @name), (RAND(), 'random');
UPDATE t SET s = CONCAT(s, @name);
BEGIN;
DELETE FROM t WHERE id = 1;
INSERT INTO t (v) VALUES (2);
COMMIT;
SET SESSION binlog_format = ROW;
DELETE FROM t;
