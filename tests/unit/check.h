/* SPDX-License-Identifier: MIT
 *
 * check.h: what a unit test needs: CHECK(condition[, message...]) counts and reports, finish() gives main's value.
 */
#ifndef CMPC_TEST_CHECK_H
#define CMPC_TEST_CHECK_H

#include <stdio.h>

static unsigned check_count, check_failures;

#define CHECK(condition, ...)                                                                                          \
	do {                                                                                                               \
		check_count++;                                                                                                 \
		if (!(condition)) {                                                                                            \
			check_failures++;                                                                                          \
			printf("%s:%d: %s", __FILE__, __LINE__, #condition);                                                       \
			printf(": " __VA_ARGS__);                                                                                  \
			printf("\n");                                                                                              \
		}                                                                                                              \
	} while (0)

static int finish(const char *name)
{
	printf("%s: %u checks", name, check_count);
	if (check_failures)
		printf(", %u failed", check_failures);
	printf("\n");
	return check_failures != 0;
}

#endif
