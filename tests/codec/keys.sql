-- SPDX-License-Identifier: GPL-2.0-only
--
-- Tables with an index over each type of column, for the check of the key codec. Their
-- engine is MyISAM, because its order is what is compared with: Aria has BIT in none.

SET sql_mode = '', rand_seed1 = 42, rand_seed2 = 4711, max_error_count = 0;

CREATE TABLE t_int (
  a TINYINT, b TINYINT UNSIGNED, c SMALLINT NOT NULL, d SMALLINT UNSIGNED, e MEDIUMINT,
  f MEDIUMINT UNSIGNED NOT NULL, g INT, h INT UNSIGNED, i BIGINT, j BIGINT UNSIGNED,
  k INT NOT NULL, l BIGINT AS (i DIV 2) VIRTUAL, m INT AS (g) VIRTUAL, y YEAR, o BOOL,
  PRIMARY KEY (k, c), KEY (a), KEY (b), KEY (c), KEY (d), KEY (e), KEY (f), KEY (g), KEY (h),
  KEY (i), KEY (j), KEY (l), KEY (m DESC), KEY (y), KEY (a DESC), KEY (i DESC), KEY (j DESC, a),
  KEY (o, a DESC, y, c DESC), KEY (f DESC, k DESC), KEY (e DESC, d, i)) ENGINE=MyISAM;
INSERT IGNORE INTO t_int (a, b, c, d, e, f, g, h, i, j, k, y, o)
  SELECT ELT(1 + RAND() * 7, NULL, 0, 1, -1, 127, -128, RAND() * 256 - 128),
    ELT(1 + RAND() * 5, NULL, 0, 255, 128, RAND() * 256),
    ELT(1 + RAND() * 6, -32768, 0, -1, 32767, 256, RAND() * 65536 - 32768),
    ELT(1 + RAND() * 5, NULL, 0, 65535, 256, RAND() * 65536),
    ELT(1 + RAND() * 7, NULL, 0, -1, -8388608, 8388607, 65536, RAND() * 16777216 - 8388608),
    ELT(1 + RAND() * 4, 0, 16777215, 65536, RAND() * 16777216),
    ELT(1 + RAND() * 6, NULL, 0, -1, -2147483648, 2147483647, RAND() * 4294967296 - 2147483648),
    ELT(1 + RAND() * 5, NULL, 0, 4294967295, 2147483648, RAND() * 4294967296),
    ELT(1 + RAND() * 6, NULL, 0, -1, -9223372036854775808, 9223372036854775807,
      FLOOR(RAND() * 4294967296) * 4294967296 - 9223372036854775808),
    ELT(1 + RAND() * 5, NULL, 0, 18446744073709551615, 9223372036854775808,
      FLOOR(RAND() * 4294967296) * 4294967296),
    RAND() * 2000 - 1000, ELT(1 + RAND() * 5, NULL, 0, 1901, 2155, 1901 + RAND() * 254),
    RAND() > 0.5
  FROM seq_1_to_1000;

CREATE TABLE t_num (
  a FLOAT, b DOUBLE, c DOUBLE NOT NULL, d DECIMAL(5,2), e DECIMAL(65,30), f DECIMAL(10,0) NOT NULL,
  g DECIMAL(4,4) UNSIGNED, h FLOAT(7,3), i BIT, j BIT(7) NOT NULL, k BIT(8), l BIT(13), m BIT(64),
  n BIT(3) NOT NULL, o ENUM('x','a','m'), p SET('z','a','b','c','d','e','f','g','h','i'),
  q INT NOT NULL,
  PRIMARY KEY (c, n, f), KEY (a), KEY (b), KEY (d), KEY (e), KEY (f), KEY (g), KEY (h DESC),
  KEY (i), KEY (j), KEY (k), KEY (l), KEY (m), KEY (l DESC, i, n DESC), KEY (o), KEY (p),
  KEY (e DESC, o DESC, p DESC), KEY (b DESC, q), KEY (n, k), KEY (d, b, m DESC)) ENGINE=MyISAM;
INSERT IGNORE INTO t_num
  SELECT ELT(1 + RAND() * 6, NULL, 0, -1e0 * 0e0, 1e30, -1e-30, RAND() - 0.5),
    ELT(1 + RAND() * 6, NULL, 0, 1.7976931348623157e308, -2.2250738585072014e-308, 1, RAND() - 0.5),
    IF(RAND() < 0.2, 0e0, IF(RAND() < 0.2, -1e0 * 0e0, RAND() * 100 - 50)),
    ELT(1 + RAND() * 5, NULL, 0, -999.99, 999.99, RAND() * 2000 - 1000),
    ELT(1 + RAND() * 5, NULL, 0, -0.000000000000000000000000000001,
      99999999999999999999999999999999999, RAND() * 1e30 - 5e29),
    RAND() * 2e9 - 1e9, ELT(1 + RAND() * 3, NULL, 0.9999, RAND()),
    ELT(1 + RAND() * 3, NULL, 0, RAND() * 100 - 50),
    IF(RAND() < 0.3, NULL, RAND() * 2 - 0.5), RAND() * 127, IF(RAND() < 0.1, NULL, RAND() * 255),
    IF(RAND() < 0.1, NULL, RAND() * 8191),
    IF(RAND() < 0.1, NULL, FLOOR(RAND() * 4294967296) * 4294967296 + RAND() * 65536), RAND() * 7,
    IF(RAND() < 0.2, NULL, FLOOR(RAND() * 4)), IF(RAND() < 0.2, NULL, RAND() * 1023), seq
  FROM seq_1_to_1000;

CREATE TABLE t_time (
  a DATE, b TIME, c TIME(1), d TIME(3), e TIME(6), f DATETIME, g DATETIME(2), h DATETIME(6),
  i TIMESTAMP NULL, j TIMESTAMP(3) NULL, k TIMESTAMP(6) NOT NULL DEFAULT 0, l DATE NOT NULL,
  PRIMARY KEY (k, l), KEY (a), KEY (b), KEY (c), KEY (d), KEY (e), KEY (f), KEY (g), KEY (h),
  KEY (i), KEY (j), KEY (k), KEY (l), KEY (b DESC), KEY (h DESC, a DESC), KEY (e DESC, i),
  KEY (l, d DESC, j)) ENGINE=MyISAM;
INSERT IGNORE INTO t_time
  SELECT ELT(1 + RAND() * 5, NULL, '0000-00-00', '9999-12-31', '2020-00-00',
      '1000-01-01' + INTERVAL RAND() * 3000000 DAY),
    t, t, t, t, u, u, u, NULLIF(v, 0), NULLIF(v, 1), IFNULL(v, '2000-01-01 00:00:00.000001'),
    '1970-01-01' + INTERVAL RAND() * 30 DAY
  FROM (SELECT ELT(1 + RAND() * 6, NULL, 0, '-838:59:59.999999', '838:59:59.999999',
        '-00:00:00.000001', SEC_TO_TIME(RAND() * 6000000 - 3000000)) AS t,
      ELT(1 + RAND() * 5, NULL, 0, '9999-12-31 23:59:59.999999', '2021-02-00 00:00:00',
        '1000-01-01' + INTERVAL RAND() * 99999999999 SECOND) AS u,
      ELT(1 + RAND() * 5, NULL, 0, '2038-01-19 03:14:07.999999', '1970-01-02 00:00:01',
        FROM_UNIXTIME(RAND() * 2147483647)) AS v
    FROM seq_1_to_1000) AS values_;

SET GLOBAL mysql56_temporal_format = OFF;
CREATE TABLE t_old_time (
  b TIME, c TIME(1), d TIME(3), e TIME(6), f DATETIME, g DATETIME(2), h DATETIME(6),
  i TIMESTAMP NULL, j TIMESTAMP(3) NULL, k TIMESTAMP(6) NOT NULL DEFAULT 0, l DATE NOT NULL,
  PRIMARY KEY (k, l), KEY (b), KEY (c), KEY (d), KEY (e), KEY (f), KEY (g), KEY (h),
  KEY (i), KEY (j), KEY (k), KEY (b DESC), KEY (h DESC, i DESC), KEY (e DESC, i)) ENGINE=MyISAM;
SET GLOBAL mysql56_temporal_format = ON;
INSERT IGNORE INTO t_old_time SELECT b, c, d, e, f, g, h, i, j, k, l FROM t_time;

CREATE TABLE t_other (
  a INET6, b INET6 NOT NULL, c UUID, d INET4, g POINT, h GEOMETRY NOT NULL, i INT NOT NULL,
  j BINARY(16), k BINARY(5) NOT NULL, l VARBINARY(20), m VARBINARY(300) NOT NULL, n BLOB,
  o TINYBLOB NOT NULL, p MEDIUMTEXT CHARSET utf8mb4, q LONGBLOB,
  PRIMARY KEY (k, i), KEY (a), KEY (b), KEY (c), KEY (d), KEY (g(25)), KEY (h(40), i), KEY (j),
  KEY (j(3)), KEY (k), KEY (l), KEY (l DESC), KEY (m), KEY (m(2)), KEY (n(10)), KEY (o(3), a DESC),
  KEY (p(5)), KEY (q(300) DESC, l), KEY (c DESC, d DESC, l, k DESC, i)) ENGINE=MyISAM;
INSERT IGNORE INTO t_other
  SELECT ELT(1 + RAND() * 4, NULL, '::', 'ffff::1', INET6_NTOA(UNHEX(MD5(RAND())))),
    ELT(1 + RAND() * 2, '::1', INET6_NTOA(UNHEX(MD5(RAND())))),
    ELT(1 + RAND() * 3, NULL, '00000000-0000-0000-0000-000000000000', MD5(RAND())),
    ELT(1 + RAND() * 3, NULL, '0.0.0.0', INET_NTOA(RAND() * 4294967295)),
    IF(RAND() < 0.2, NULL, POINT(FLOOR(RAND() * 9), -seq)),
    POINT(FLOOR(RAND() * 5), FLOOR(RAND() * 5)), seq, x, x, x, IFNULL(x, ''), x, IFNULL(x, ''),
    REPEAT(HEX(LEFT(x, 2)), 2), x
  FROM (SELECT ELT(1 + RAND() * 11, NULL, '', x'00', x'0000', x'00FF', x'00000000', x'FF', x'FFFF',
        x'6100', x'610020', UNHEX(LEFT(MD5(RAND()), 2 * FLOOR(RAND() * 9)))) AS x, seq
    FROM seq_1_to_1000) AS values_;

-- Words of few letters, so that many are alike but for accents, case and spaces.
CREATE TABLE words (w VARCHAR(30)) CHARSET utf8mb4 ENGINE=MyISAM;
INSERT INTO words SELECT NULL FROM seq_1_to_20;
INSERT INTO words SELECT '' FROM seq_1_to_10;
INSERT INTO words
  SELECT CONCAT(
      ELT(1 + RAND() * 9, 'a', 'A', 'ä', 'á', 'b', 'ß', 'c', ' ', ''),
      ELT(1 + RAND() * 9, 'ss', 'h', 'H', ' ', '  ', '\t', 'z', 'a', ''),
      ELT(1 + RAND() * 9, 'ch', 'e', 'é', ' ', '\t', '~', '0', 'x', ''), REPEAT(' ', RAND() * 3))
  FROM seq_1_to_1500;

CREATE TABLE t_text (
  a VARCHAR(30) CHARSET utf8mb4 COLLATE utf8mb4_general_ci,
  b VARCHAR(30) CHARSET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL,
  c VARCHAR(30) CHARSET utf8mb4 COLLATE utf8mb4_bin,
  d VARCHAR(30) CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin,
  e VARCHAR(30) CHARSET latin1 COLLATE latin1_swedish_ci,
  f VARCHAR(300) CHARSET latin1 COLLATE latin1_german2_ci,
  g VARCHAR(30) CHARSET utf8mb4 COLLATE utf8mb4_uca1400_as_cs,
  h VARCHAR(30) CHARSET utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci,
  i VARCHAR(30) CHARSET latin2 COLLATE latin2_czech_cs,
  j VARCHAR(30) CHARSET utf16 COLLATE utf16_bin,
  k VARCHAR(30) CHARSET latin1 COLLATE latin1_nopad_bin NOT NULL,
  l CHAR(9) CHARSET utf8mb4 COLLATE utf8mb4_general_ci,
  m CHAR(9) CHARSET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  n CHAR(100) CHARSET latin1 COLLATE latin1_bin,
  o CHAR(9) CHARSET utf16le COLLATE utf16le_general_ci,
  p CHAR(1) CHARSET ascii NOT NULL, q TEXT CHARSET utf8mb3, r TINYTEXT CHARSET latin1,
  s INT NOT NULL,
  KEY (a), KEY (b), KEY (c), KEY (d), KEY (e), KEY (f), KEY (g), KEY (h), KEY (i), KEY (j),
  KEY (k), KEY (l), KEY (m), KEY (n), KEY (o), KEY (p), KEY (q(3)), KEY (r(100)), KEY (a(2)),
  KEY (b(1), a(1) DESC), KEY (l(2)), KEY (m(2), k(2)), KEY (e(3) DESC), KEY (o(1), j(2)),
  KEY (a DESC), KEY (g DESC, s DESC), KEY (d DESC, k DESC, n DESC, m), KEY (k, e, a), KEY (h, d),
  KEY (q(10) DESC, r(2), c), PRIMARY KEY (k, m, s)) ENGINE=MyISAM;
INSERT IGNORE INTO t_text
  SELECT a.w, IFNULL(b.w, ''), a.w, b.w, a.w, b.w, a.w, b.w, a.w, b.w, IFNULL(a.w, 'x'), b.w,
    IFNULL(a.w, 'y'), b.w, a.w, IFNULL(b.w, ''), a.w, b.w, a.n
  FROM (SELECT w, ROW_NUMBER() OVER (ORDER BY BINARY w) AS n FROM words) AS a,
    (SELECT w, ROW_NUMBER() OVER (ORDER BY BINARY REVERSE(w)) AS n FROM words) AS b
  WHERE a.n = b.n;

CREATE TABLE t_lone (v VARBINARY(20) NOT NULL PRIMARY KEY)
  ENGINE=MyISAM SELECT DISTINCT m AS v FROM t_other;
CREATE TABLE t_lone_char (v CHAR(20) CHARSET latin1 COLLATE latin1_bin NOT NULL PRIMARY KEY)
  ENGINE=MyISAM SELECT DISTINCT n AS v FROM t_text WHERE n IS NOT NULL;
INSERT INTO t_lone_char VALUES ('\0'), ('\0\0'), ('\0a');
CREATE TABLE t_lone_text (v VARCHAR(20) CHARSET utf8mb4 NOT NULL PRIMARY KEY) ENGINE=MyISAM;
INSERT IGNORE INTO t_lone_text SELECT w FROM words WHERE w IS NOT NULL;
INSERT IGNORE INTO t_lone_text VALUES ('\0'), ('\0\0');
