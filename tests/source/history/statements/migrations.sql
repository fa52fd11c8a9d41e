-- As the migrations of web frameworks write them: quoted or not, one change a statement, keys apart.
CREATE TABLE posts (
	ID bigint(20) unsigned NOT NULL auto_increment,
	author bigint(20) unsigned NOT NULL default '0',
	posted datetime NOT NULL default '2000-01-01 00:00:00',
	content longtext NOT NULL,
	title text NOT NULL,
	status varchar(20) NOT NULL default 'publish',
	name varchar(200) NOT NULL default '',
	menu_order int(11) NOT NULL default '0',
	comment_count bigint(20) NOT NULL default '0',
	PRIMARY KEY  (ID),
	KEY name (name(191)),
	KEY status_date (status,posted,ID),
	KEY author (author)
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
CREATE TABLE postmeta (
	meta_id bigint(20) unsigned NOT NULL auto_increment,
	post_id bigint(20) unsigned NOT NULL default '0',
	meta_key varchar(255) default NULL,
	meta_value longtext,
	PRIMARY KEY  (meta_id),
	KEY post_id (post_id),
	KEY meta_key (meta_key(191))
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
ALTER TABLE posts ADD COLUMN modified_gmt datetime NOT NULL default '2000-01-01 00:00:00' AFTER posted;
ALTER TABLE posts ADD INDEX type_status_date (status,posted);
ALTER TABLE posts CHANGE COLUMN `title` `title` text NOT NULL;
ALTER TABLE posts DROP INDEX type_status_date;
ALTER TABLE postmeta CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE `auth_user` (`id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, `password` varchar(128) NOT NULL, `last_login` datetime(6) NULL, `is_superuser` bool NOT NULL, `username` varchar(150) NOT NULL UNIQUE, `date_joined` datetime(6) NOT NULL);
CREATE TABLE `auth_group` (`id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, `name` varchar(80) NOT NULL UNIQUE);
CREATE TABLE `auth_user_groups` (`id` bigint AUTO_INCREMENT NOT NULL PRIMARY KEY, `user_id` integer NOT NULL, `group_id` integer NOT NULL);
ALTER TABLE `auth_user_groups` ADD CONSTRAINT `groups_user_id_group_id_94350c0c_uniq` UNIQUE (`user_id`, `group_id`);
ALTER TABLE `auth_user_groups` ADD CONSTRAINT `groups_user_id_6a12ed8b_fk` FOREIGN KEY (`user_id`) REFERENCES `auth_user` (`id`);
ALTER TABLE `auth_user` ADD COLUMN `first_name` varchar(30) DEFAULT '' NOT NULL;
ALTER TABLE `auth_user` ALTER COLUMN `first_name` DROP DEFAULT;
ALTER TABLE `auth_user` MODIFY `first_name` varchar(150) NULL;
ALTER TABLE `auth_user` RENAME COLUMN `first_name` TO `given_name`;
ALTER TABLE `auth_group` MODIFY `name` varchar(150) NOT NULL;
CREATE INDEX `auth_user_given_7d9c` ON `auth_user` (`given_name`);
CREATE UNIQUE INDEX `auth_user_both` ON `auth_user` (`username`, `date_joined` DESC);
DROP INDEX `auth_user_given_7d9c` ON `auth_user`;
RENAME TABLE `auth_group` TO `auth_team`;
ALTER TABLE `auth_user_groups` DROP FOREIGN KEY `groups_user_id_6a12ed8b_fk`;
ALTER TABLE `auth_user_groups` DROP INDEX `groups_user_id_group_id_94350c0c_uniq`;
CREATE TABLE `articles` (`id` bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, `title` varchar(255), `body` text, `views` int DEFAULT 0 NOT NULL, `published` tinyint(1) DEFAULT FALSE, `price` decimal(8,2), `created_at` datetime(6) NOT NULL, `updated_at` datetime(6) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
ALTER TABLE `articles` ADD `user_id` bigint, ADD INDEX `index_articles_on_user_id`  (`user_id`);
ALTER TABLE `articles` ADD `slug` varchar(255) COLLATE utf8mb4_bin NOT NULL AFTER `title`;
ALTER TABLE `articles` CHANGE `views` `view_count` bigint DEFAULT 0 NOT NULL;
ALTER TABLE `articles` DROP COLUMN `price`;
ALTER TABLE `articles` ADD `uuid` char(36) CHARACTER SET ascii COLLATE ascii_general_ci, ADD `state` enum('draft','live') NOT NULL DEFAULT 'draft', ADD UNIQUE (`slug`), DROP `published`;
CREATE TABLE `schema_migrations` (`version` varchar(255) NOT NULL PRIMARY KEY);
CREATE TABLE `users` (`id` bigint unsigned not null auto_increment primary key, `name` varchar(255) not null, `email` varchar(255) not null, `remember_token` varchar(100) null, `options` json null, `created_at` timestamp null, `updated_at` timestamp null) default character set utf8mb4 collate 'utf8mb4_unicode_ci';
alter table `users` add unique `users_email_unique`(`email`);
alter table `users` add `votes` int unsigned not null default '0' after `email`, add `ip` varchar(45) null;
alter table `users` modify `name` varchar(50) not null;
alter table `users` drop `votes`, drop `remember_token`;
alter table `users` rename to `members`;
alter table `members` add primary key (`id`, `email`), drop primary key;
drop table if exists `members`, `never_there`;
CREATE TABLE jobs (id VARCHAR(36) NOT NULL, state SMALLINT, payload MEDIUMTEXT, locked_until TIMESTAMP(3) NULL, attempts TINYINT UNSIGNED DEFAULT 0 NOT NULL, cost FLOAT UNSIGNED, PRIMARY KEY (id), CONSTRAINT uq UNIQUE (state, locked_until));
ALTER TABLE jobs ADD CONSTRAINT chk_state CHECK (state IN (0, 1, 2)), MODIFY COLUMN payload LONGTEXT NOT NULL;
ALTER TABLE jobs ADD COLUMN any INT, ADD COLUMN period INT, ADD COLUMN `format` INT, ADD COLUMN path VARCHAR(9), ADD COLUMN title CHAR(3), ADD COLUMN list INT;
ALTER TABLE jobs DROP any, DROP COLUMN period;
