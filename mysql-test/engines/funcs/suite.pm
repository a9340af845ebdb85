# SPDX-License-Identifier: GPL-2.0-only
#
# The server's suite engines/funcs with BlitzDB as the default engine, in place of
# the engines that the suite itself names.
package My::Suite::Engines::Blitz;

@ISA = qw(My::Suite);

return "Need ha_blitzdb.so in the plugin directory" unless $ENV{HA_BLITZDB_SO};

sub skip_combinations { ('combinations' => ['innodb', 'myisam']) }

bless { };
