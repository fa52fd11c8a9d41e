-- The sequences of tools that change tables while they are used.
CREATE TABLE orders (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, total DECIMAL(10,2), note VARCHAR(40)) CHARSET latin1;
create /* gh-ost */ table `ddl`.`_orders_ghc` (id bigint unsigned auto_increment, last_update timestamp not null DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, hint varchar(64) charset ascii not null, value varchar(4096) charset ascii not null, primary key(id), unique key hint_uidx(hint)) auto_increment=256 comment='ghost-cut-over-sentry';
create /* gh-ost */ table `ddl`.`_orders_gho` like `ddl`.`orders`;
alter /* gh-ost */ table `ddl`.`_orders_gho` add column shipped datetime(3) null after total, modify note varchar(80) character set utf8mb4;
create /* gh-ost */ table `ddl`.`_orders_del` (id int auto_increment primary key) engine=InnoDB comment='ghost-cut-over-sentry';
drop /* gh-ost */ table if exists `ddl`.`_orders_del`;
rename /* gh-ost */ table `ddl`.`orders` to `ddl`.`_orders_del`, `ddl`.`_orders_gho` to `ddl`.`orders`;
drop /* gh-ost */ table if exists `ddl`.`_orders_ghc`;
drop /* gh-ost */ table if exists `ddl`.`_orders_del`;
CREATE TABLE `ddl`.`_orders_new` (
  `id` int NOT NULL AUTO_INCREMENT,
  `total` decimal(10,2) DEFAULT NULL,
  `shipped` datetime(3) DEFAULT NULL,
  `note` varchar(80) CHARACTER SET utf8mb4 DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1;
ALTER TABLE `ddl`.`_orders_new` ENGINE=InnoDB, add key (shipped), drop column total, add total bigint unsigned first;
CREATE TRIGGER `pt_osc_ddl_orders_del` AFTER DELETE ON `ddl`.`orders` FOR EACH ROW DELETE IGNORE FROM `ddl`.`_orders_new` WHERE `ddl`.`_orders_new`.`id` <=> OLD.`id`;
ANALYZE TABLE `ddl`.`_orders_new` /* pt-online-schema-change */;
RENAME TABLE `ddl`.`orders` TO `ddl`.`_orders_old`, `ddl`.`_orders_new` TO `ddl`.`orders`;
DROP TABLE IF EXISTS `_orders_old`;
DROP TRIGGER IF EXISTS `ddl`.`pt_osc_ddl_orders_del`;
CREATE TABLE a (one INT) COMMENT 'RENAME TABLE a TO b';
CREATE TABLE b (two INT);
CREATE TABLE c (three INT);
RENAME TABLE a TO swap, b TO a, c TO b, swap TO c;
RENAME TABLE c TO other_c, other_c TO c;
ALTER TABLE a RENAME AS d, ADD COLUMN x INT FIRST;
ALTER TABLE d RENAME TO a;
ALTER TABLE a RENAME e;
RENAME TABLE e TO ddl.a;
DROP TABLES a, b RESTRICT;
