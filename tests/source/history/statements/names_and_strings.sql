-- Names, quotes and comments wherever they may stand.
CREATE TABLE `select` (`from` INT, `primary` INT, `key` INT, `a``b` INT, `c d` INT, `größe` INT, `名前` VARCHAR(3), `a"b` INT, `x'y` INT, `1` INT, `-- no` INT, `/* no */` INT);
ALTER TABLE `select` DROP `from`, CHANGE `c d` `e f` BIGINT, ADD `)` INT AFTER `1`, ADD `,` INT FIRST;
ALTER TABLE ddl . `select` ADD UNIQUE `u``v` (`1`), RENAME COLUMN `a``b` TO `a b`;
CREATE TABLE 1st (1a INT, 2b INT, a1 INT, $x INT, y$ INT, _z INT, Größe INT, 名 INT);
ALTER TABLE ddl.1st ADD 3d INT AFTER 1a, ADD date DATE, ADD time TIME, ADD timestamp TIMESTAMP NULL, ADD year YEAR, ADD text TEXT, ADD enum ENUM('a'), ADD bit BIT(3), ADD boolean BOOL, ADD json INT;
ALTER TABLE 1st ADD comment VARCHAR(3) COMMENT 'c', ADD engine INT, ADD status INT, ADD type INT, ADD value INT, ADD role INT, ADD data INT, ADD hash INT, ADD first INT, ADD after INT AFTER first, ADD visible INT;
ALTER TABLE 1st MODIFY after INT FIRST, MODIFY first INT AFTER after, DROP comment, RENAME COLUMN status TO state;
/* before */ CREATE /* a */ TABLE/* b */comments/**/(a/* c */INT,-- to the end
 b INT, # likewise, (
 c INT /* , d INT */, e INT /*! UNSIGNED */, f INT /*!40000 UNSIGNED */ , g INT /*!99999 WRONG */, `h` INT /*!50503 NOT NULL /* nested */ */, PRIMARY /* x */ KEY (a)) /* behind */;
ALTER TABLE comments ADD i DOUBLE /* x */ PRECISION, ADD j VARCHAR(4) CHARACTER /* y */ SET /* z */ utf8mb4, ADD k INT NOT -- n
NULL;
/*!50000 ALTER TABLE comments ADD l INT, ADD m INT */;
/*! CREATE TABLE whole (a INT) */;
CREATE TABLE spaces
(
	a	INT
	,
	b
	INT
)
;
SET sql_mode = 'ANSI_QUOTES';
CREATE TABLE "an""si" ("a" INT, "b ""c" VARCHAR(3) DEFAULT 'x"', `d"e` INT, f ENUM('"', 'a"b') NOT NULL, PRIMARY KEY ("a"));
ALTER TABLE "an""si" CHANGE "b ""c" "b\c" VARCHAR(4) COMMENT 'it\'s', ADD UNIQUE "u" (`d"e`), ADD "x" ENUM('\'', '\\');
SET sql_mode = 'NO_BACKSLASH_ESCAPES';
CREATE TABLE plain (a ENUM('\', 'b\n', 'c''d', "e""f\"), b VARCHAR(9) DEFAULT '\' COMMENT "\", c INT);
SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';
ALTER TABLE plain ADD "d\" SET('\', '"', 'x\\') AFTER a, CHANGE c "c'" INT UNSIGNED;
SET sql_mode = 'REAL_AS_FLOAT,PIPES_AS_CONCAT,IGNORE_SPACE';
CREATE TABLE reals (a REAL, b REAL UNSIGNED, c DOUBLE, d VARCHAR(9) AS ('a' || a), e VARCHAR(9) DEFAULT (CONCAT ('a', 'b')));
SET sql_mode = 'ANSI';
CREATE TABLE ansi (a REAL, "b" INT);
SET sql_mode = DEFAULT;
CREATE TABLE Upper (Id INT PRIMARY KEY, iD2 INT);
ALTER TABLE Upper MODIFY ID BIGINT AFTER id2, ADD KEY (iD);
ALTER TABLE Upper DROP COLUMN ID2;
CREATE TABLE upper (id INT);
DROP TABLE Upper;
