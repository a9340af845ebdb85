# SPDX-License-Identifier: GPL-2.0-only
#
# The plugin's own tests. They are left out where the plugin is not.
package My::Suite::Blitz;

@ISA = qw(My::Suite);

return "Need ha_blitzdb.so in the plugin directory" unless $ENV{HA_BLITZDB_SO};

sub is_default { 1 }

bless { };
