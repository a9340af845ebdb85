#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only
#
# For alter_pairs.inc. A column is changed from each definition to each other one, in forms
# of a table: the column has no key (only if all pairs are asked for); it has one, and so
# have columns that are computed from it; it is the primary key.
#
# `probe` prints statements that try each change without a copy, on an empty table. `make`
# reads what the client said to them and prints statements that do those changes that need
# no copy, or all that are asked for. Each is done in some ways:
#
#   b   BLITZDB, as far from a copy as the server lets it: INSTANT, else NOCOPY, else
#       INPLACE, else as it likes
#   c   BLITZDB, by a copy
#   m   MyISAM, by a copy
#
# `compare` reads what the client printed, and says where b is not as c and m.

use strict;
use warnings;

my $wanted = $ENV{WANTED_PAIRS};

# ---- definitions, by family, with values for each family ---------------------------------

my @texts = (
  "''", "'a'", "'B '", "'ab  '", "'abcd'", "'abcdé'", "'ßß'", "'2020-02-29'", "'-12.345'",
  "'12345678901234567890'", (map { "REPEAT('x', $_)" } 9 .. 11, 63, 64, 254 .. 257, 300),
  "REPEAT('é', 127)", "REPEAT('é', 128)", "REPEAT('\\\\0', 5)", "'[1, 2]'", 'NULL');
my @numbers = (
  'NULL', 0, 1, -1, 7, 99, 100, 127, 128, 255, 256, 32767, 65536, 8388607, 16777216, 2147483647,
  4294967296, -2147483648, '9223372036854775807', '18446744073709551615', '12.345', '-99.999',
  '1.5', '0.001', '1e10', '-1e30', '123456.789');
my @times = (
  'NULL', "'0000-00-00'", "'1970-01-02 00:00:01.999999'", "'2020-02-29 23:59:59.5'",
  "'2038-01-18 01:02:03.123456'", "'9999-12-31'", "'1000-01-01'");
my @clocks = ('NULL', "'00:00:00'", "'-838:59:59.999'", "'838:59:59'", "'12:34:56.789123'", "'-0:0:1.5'");
my @bits = (
  'NULL', "b'0'", "b'1'", "b'10000000'", "b'11111111'", "b'101010101'", "b'1111111111111111'",
  '0xFFFFFFFFFFFFFFFF', '0x0102030405060708');
my @enums = ('NULL', 1, 2, 3, 255, 256, 300, "''", "'a'", "'b'", "'a,b'");
my @addresses = (
  'NULL', "'1.2.3.4'", "'::1'", "'::'", "'ffff:1234::9'", "'255.255.255.255'", "'0.0.0.0'",
  "'00000000-0000-0000-0000-000000000001'", "'123e4567-e89b-12d3-a456-426655440000'");
my @shapes = (
  'NULL', 'POINT(1, 2)', 'POINT(-1e300, 0)', "ST_GeomFromText('LINESTRING(0 0,1 1,2 2)')");

sub names { my ($to) = @_; return join ',', "'a'", "'b'", map { "'v$_'" } 3 .. $to }

my %families = (
  varchar => [\@texts, map { ("VARCHAR($_)", "VARCHAR($_) COMPRESSED") } 10, 85, 255, 256, 1000],
  text => [
    \@texts, 'VARCHAR(255) NOT NULL', 'VARCHAR(300) NOT NULL COMPRESSED',
    'VARCHAR(60) CHARACTER SET utf8mb4', 'VARCHAR(64) CHARACTER SET utf8mb4',
    'VARCHAR(60) CHARACTER SET utf8mb3', 'VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
    'VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin',
    'VARCHAR(60) CHARACTER SET utf16', 'VARCHAR(60) COLLATE latin1_general_cs', 'VARBINARY(60)',
    'VARBINARY(300)', 'VARBINARY(300) COMPRESSED', "VARCHAR(60) CHECK (x <> 'no')",
    'VARCHAR(60) CHECK (JSON_VALID(x))'],
  char => [
    \@texts, 'CHAR(1)', 'CHAR(4)', 'CHAR(5)', 'CHAR(10)', 'CHAR(10) NOT NULL', 'CHAR(255)',
    'CHAR(10) CHARACTER SET utf8mb4', 'CHAR(64) CHARACTER SET utf8mb4',
    'CHAR(10) CHARACTER SET ucs2', 'CHAR(10) COLLATE latin1_bin',
    'CHAR(10) COLLATE latin1_nopad_bin', 'BINARY(4)', 'BINARY(10)',
    'CHAR(10) CHECK (JSON_VALID(x))'],
  blob => [
    \@texts, 'TINYBLOB', 'BLOB', 'MEDIUMBLOB', 'LONGBLOB', 'BLOB COMPRESSED', 'BLOB NOT NULL',
    'TINYTEXT', 'TEXT', 'TEXT COMPRESSED', 'MEDIUMTEXT COMPRESSED', 'LONGTEXT', 'JSON',
    'LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin', 'TEXT CHARACTER SET utf8mb4'],
  integer => [
    \@numbers, 'TINYINT', 'SMALLINT', 'MEDIUMINT', 'INT', 'INT(5)', 'INT NOT NULL',
    'INT UNSIGNED', 'INT UNSIGNED ZEROFILL', 'INT(20) ZEROFILL', 'BIGINT', 'BIGINT UNSIGNED',
    'BOOL', 'YEAR', 'YEAR(2)', "INT DEFAULT 7 COMMENT 'c'", 'INT AS (id) STORED',
    'INT AS (id) VIRTUAL'],
  decimal => [
    \@numbers, 'DECIMAL(5,2)', 'DECIMAL(6,2)', 'DECIMAL(5,3)', 'DECIMAL(9,0)', 'DECIMAL(8,0)',
    'DECIMAL(20,5) UNSIGNED', 'DECIMAL(20,5) ZEROFILL', 'FLOAT', 'FLOAT(7,3)', 'FLOAT(5,1)',
    'FLOAT(7,0)', 'FLOAT UNSIGNED', 'DOUBLE', 'DOUBLE(10,2)', 'DOUBLE(12,2)', 'DOUBLE(8,4)',
    'DOUBLE NOT NULL', 'DOUBLE ZEROFILL'],
  date => [
    \@times, 'DATE', 'DATE NOT NULL', 'DATETIME', 'DATETIME(1)', 'DATETIME(2)', 'DATETIME(6)',
    'TIMESTAMP NULL', 'TIMESTAMP(3) NULL', 'TIMESTAMP(6) NULL', 'TIMESTAMP NOT NULL'],
  time => [\@clocks, 'TIME', 'TIME(1)', 'TIME(2)', 'TIME(3)', 'TIME(6)', 'TIME(6) NOT NULL'],
  bit => [\@bits, 'BIT(9) NOT NULL', map { "BIT($_)" } 1, 2, 7, 8, 9, 15, 16, 17, 63, 64],
  enum => [
    \@enums, "ENUM('a','b')", "ENUM('b','a')", "ENUM('a','b','c')", "ENUM('a')",
    "ENUM('a','b') NOT NULL", "ENUM('a','b') CHARACTER SET utf8mb4", 'ENUM(' . names(255) . ')',
    'ENUM(' . names(256) . ')', 'ENUM(' . names(300) . ')', "SET('a','b')", "SET('a','b','c')",
    "SET('b','a')", map { 'SET(' . names($_) . ')' } 8, 9, 64],
  address => [\@addresses, 'UUID', 'UUID NOT NULL', 'INET6', 'INET4', 'BINARY(16)', 'CHAR(39)',
    'VARCHAR(39)'],
  shape => [\@shapes, 'GEOMETRY', 'GEOMETRY NOT NULL', 'POINT', 'LINESTRING',
    'GEOMETRY REF_SYSTEM_ID=4326', 'LONGBLOB'],
);

my @definitions;
for my $family (sort keys %families)
{
  my ($values, @types) = @{ $families{$family} };
  push @definitions, { family => $family, type => $_, values => $values } for @types;
}

# ---- statements ----------------------------------------------------------------------------

sub keys_of
{
  my ($form, $from, $to) = @_;
  return 'PRIMARY KEY (id)' if $form eq 'none';
  my $type = $from->{type};
  my $part = $type =~ /BLOB|TEXT|JSON$|GEOMETRY|LINESTRING/ ? 'x(20)'
    : $type =~ /CHAR\((300|1000|255)\)|BINARY\(300\)/ ? 'x(63)' : 'x';
  return "PRIMARY KEY ($part)" if $form eq 'primary';
  my @keys = ('PRIMARY KEY (id)');
  push @keys, "KEY ($part)" if $type !~ /COMPRESSED/;
  push @keys, 'g VARCHAR(30) AS (LEFT(HEX(x), 30)) VIRTUAL', 'h VARBINARY(30) AS (LEFT(x, 30)) VIRTUAL',
    'KEY (g)', 'KEY (h)'
    if $from->{family} ne 'shape' && $to->{family} ne 'shape';
  return join ', ', @keys;
}

my $settings = "SET NAMES utf8mb4, sql_mode = '', timestamp = 1600000000.123456;\n";

sub create
{
  my ($form, $from, $to, $engine) = @_;
  return "CREATE OR REPLACE TABLE t (id INT NOT NULL, before_ VARCHAR(3), x $from->{type}, after_ INT, "
    . keys_of($form, $from, $to) . ") ENGINE=$engine DEFAULT CHARSET=latin1;\n";
}

sub print_one
{
  my ($way, $form, $from, $to) = @_;
  my $engine = $way eq 'm' ? 'MyISAM' : 'BLITZDB';
  my $values = $from->{values};
  my @rows   = map { "($_, 'b', $values->[$_], $_)" } 0 .. $#$values;
  # That a shape is of another type is an error, of all rows of a statement.
  @rows = join ', ', @rows if $from->{family} ne 'shape';
  my @algorithms = $way eq 'b' ? qw(INSTANT NOCOPY INPLACE DEFAULT) : ('COPY');
  print qq{SELECT '==', '$way', '$form', "$from->{type} -> $to->{type}";\n},
    create($form, $from, $to, $engine),
    (map { "INSERT IGNORE INTO t (id, before_, x, after_) VALUES $_;\n" } @rows),
    "SELECT '++alter';\n",
    (map { "ALTER TABLE t MODIFY x $to->{type}, ALGORITHM=$_;\n" } @algorithms),
    "SELECT '++read';\n",
    "SELECT * FROM (SELECT id, before_, HEX(CONCAT('', x)), after_ FROM t) q ORDER BY id;\n",
    "SHOW COLUMNS FROM t LIKE 'x';\nCHECK TABLE t EXTENDED;\n";
}

sub name_of { my ($form, $from, $to) = @_; return "$form: $from->{type} -> $to->{type}" }

# Calls DO with each form and both definitions of each change.
sub each_change
{
  my ($do) = @_;
  my $all = $wanted eq 'all';
  for my $form ($all ? ('none', 'key', 'primary') : ('key', 'primary'))
  {
    for my $from (@definitions)
    {
      next if $form eq 'primary' && $from->{type} =~ /VIRTUAL|COMPRESSED|NOT NULL/;
      $do->($form, $from, $_) for grep { $all || $from->{family} eq $_->{family} } @definitions;
    }
  }
}

sub print_probe
{
  my ($form, $from, $to) = @_;
  print create($form, $from, $to, 'BLITZDB'), qq{SELECT '==', "}, name_of($form, $from, $to), qq{";\n},
    "ALTER TABLE t MODIFY x $to->{type}, ALGORITHM=INPLACE;\n";
}

sub probe
{
  print $settings;
  each_change(\&print_probe);
  print "SELECT '==', 'end';\nDROP TABLE t;\n";
}

# Reads what the client said to the probes: names of changes, and an error after those that
# need a copy, or that nobody can make.
sub read_probe
{
  my (%copied, $name);
  while (<STDIN>)
  {
    $name = $1 if /^==\t(.*)$/;
    $copied{$name} = 1 if /^ERROR/;
  }
  die "the client stopped at $name" if $name ne 'end';
  return \%copied;
}

sub make
{
  my $copied = $wanted eq 'in_place' ? read_probe() : {};
  print $settings;
  each_change(sub {
    my @change = @_;
    return if $copied->{ name_of(@change) };
    print_one($_, @change) for 'b', 'c', 'm';
  });
  print "SELECT '==', 'end', '', '';\nDROP TABLE t;\n";
}

# ---- comparison ----------------------------------------------------------------------------

my ($tables, $fast, $failed) = (0, 0, 0);

# Prints lines of the first that the second has not.
sub print_lines
{
  my ($mark, $lines, $others) = @_;
  my %has = map { $_ => 1 } @$others;
  my @own = grep { !$has{$_} } @$lines;
  print "  $mark $_\n" for map { substr $_, 0, 160 } @own[0 .. ($#own < 3 ? $#own : 3)];
}

sub compare_one
{
  my ($name, $said) = @_;
  $tables++;
  for my $other ('c', 'm')
  {
    next if "@{ $said->{b} }" eq "@{ $said->{$other} }";
    # A key of MyISAM has at most 1,000 bytes.
    next if $other eq 'm' && grep { /error 1071/ } @{ $said->{m} };
    next if ++$failed > 30;
    print "$name: not as $other\n";
    print_lines('has', $said->{b}, $said->{$other});
    print_lines('has not', $said->{$other}, $said->{b});
  }
}

sub compare
{
  my ($way, $part, $name, %said) = ('', '');
  my $done = 0;
  while (<STDIN>)
  {
    chomp;
    if (/^==\t(\w+)\t(\w*)\t(.*)$/)
    {
      if ($way eq 'm')
      {
        compare_one($name, \%said);
        %said = ();
      }
      ($way, $part, $name) = ($1, 'create', "$2: $3");
      $said{$way} = [];
      $done = 0;
    }
    elsif (/^\+\+(\w+)$/)
    {
      $part = $1;
    }
    elsif (/^ERROR (\d+)/)
    {
      # Each algorithm says why it is not the one; the last answer counts.
      pop @{ $said{$way} } if $done && $part eq 'alter';
      next if $1 == 1845 || $1 == 1846 || $1 == 4093;
      push @{ $said{$way} }, "$part: error $1";
      $done = $part eq 'alter';
    }
    elsif ($part eq 'read' && !/^test\.t\tcheck\tWarning/) # CHECK of MyISAM computes columns
    {
      push @{ $said{$way} }, $_;
    }
  }
  print "the client stopped at $name\n" if $way ne 'end';
  print scalar(@definitions), ' definitions, ', $wanted eq 'in_place' ? "$tables tables altered, " : '',
    "$failed differences\n";
  die 'nothing was altered' if $tables < @definitions;
}

my %parts = (probe => \&probe, make => \&make, compare => \&compare);
$parts{ $ARGV[0] }->();
