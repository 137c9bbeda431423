/* SPDX-License-Identifier: MIT
 *
 * units.c: the units that a number may carry, and what one of them is in base
 * units (KB is 1000 bytes, KiB 1024); the storage types and their widths.
 */
#include "ast.h"

#include <string.h>
#include <strings.h>

static const struct {
	const char *text;
	double scale;
	const char *dimension;
} units[] = {
	{"%", 0.01, ""},
	{"B", 1, "byte"},
	{"KB", 1e3, "byte"},
	{"MB", 1e6, "byte"},
	{"GB", 1e9, "byte"},
	{"TB", 1e12, "byte"},
	{"KiB", 1024.0, "byte"},
	{"MiB", 1048576.0, "byte"},
	{"GiB", 1073741824.0, "byte"},
	{"TiB", 1099511627776.0, "byte"},
	{"B/s", 1, "byte/s"},
	{"KB/s", 1e3, "byte/s"},
	{"MB/s", 1e6, "byte/s"},
	{"GB/s", 1e9, "byte/s"},
	{"TB/s", 1e12, "byte/s"},
	{"KiB/s", 1024.0, "byte/s"},
	{"MiB/s", 1048576.0, "byte/s"},
	{"GiB/s", 1073741824.0, "byte/s"},
	{"TiB/s", 1099511627776.0, "byte/s"},
	{"MFLOPS", 1e6, "flop/s"},
	{"GFLOPS", 1e9, "flop/s"},
	{"TFLOPS", 1e12, "flop/s"},
	{"GOPS", 1e9, "op/s"},
	{"TOPS", 1e12, "op/s"},
	{"MHz", 1e6, "1/s"},
	{"GHz", 1e9, "1/s"},
	{"W", 1, "W"},
	{"ms", 1e-3, "s"},
	{"us", 1e-6, "s"},
	{"USD/hour", 1, "USD/hour"},
};

bool unit_scale(Name unit, double *scale, const char **dimension)
{
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(units[i].text, unit) == 0) {
			*scale = units[i].scale;
			*dimension = units[i].dimension;
			return true;
		}
	}
	return false;
}

const char *unit_respelt(Name word)
{
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strlen(word) > 1 && strcasecmp(units[i].text, word) == 0)
			return units[i].text;
	return NULL;
}

static const struct {
	const char *text;
	uint32_t bits;
} storage_types[] = {
#define STORAGE(name, kind, bits, type) {#name, bits},
#include "storage.def"
#undef STORAGE
};

/* u4, i16: the width that is written behind the letter. */
static uint32_t integer_bits(Name name)
{
	if ((name[0] != 'u' && name[0] != 'i') || name[1] < '1' || name[1] > '9')
		return 0;
	uint32_t bits = (uint32_t)(name[1] - '0');
	if (name[2] >= '0' && name[2] <= '9' && name[3] == 0)
		bits = bits * 10 + (uint32_t)(name[2] - '0');
	else if (name[2] != 0)
		return 0;
	return bits > 64 || (name[0] == 'i' && bits < 2) ? 0 : bits;
}

uint32_t storage_bits(Name name)
{
	for (size_t i = 0; i < sizeof storage_types / sizeof *storage_types; i++)
		if (strcmp(storage_types[i].text, name) == 0)
			return storage_types[i].bits;
	return integer_bits(name);
}

void storage_names(Compiler *c, NameVec *to)
{
	for (size_t i = 0; i < sizeof storage_types / sizeof *storage_types; i++)
		vec_push(c->arena, to, name_of(c, storage_types[i].text));
}
