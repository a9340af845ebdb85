/* SPDX-License-Identifier: GPL-2.0-only
 *
 * server.h: the server's private headers, in the order that they need, and the
 * engine's own. The only place that includes either.
 */
#ifndef BLITZ_SERVER_H
#define BLITZ_SERVER_H

#define MYSQL_SERVER 1
#include <my_global.h>
#include <sql_priv.h>
#include <sql_plugin.h>
#include <field.h>
#include <handler.h>
#include <key.h>
#include <sql_error.h>
#include <mysql/plugin.h>
#include <mysqld_error.h>
#include <myisampack.h>

/* In C++ a function of a struct's name looks like its constructor. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include "../storage/blitz.h"
#pragma GCC diagnostic pop

#endif /* BLITZ_SERVER_H */
