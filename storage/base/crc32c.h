/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BZ_CRC32C_H
#define BZ_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli polynomial, reflected: RFC 3720, section 12.1) of LEN
 * bytes at DATA, going on from CRC; 0 begins. The value for "123456789" is
 * 0xe3069283.
 */
uint32_t bz_crc32c(uint32_t crc, const void *data, size_t len);

#endif /* BZ_CRC32C_H */
