/* SPDX-License-Identifier: MIT
 *
 * cpus.h: FOR_EACH_CPU before a function makes one of it for each CPU whose vectors
 * are worth it, chosen when the program is loaded, where the compiler can do that.
 * For plain loops over much data whose result does not depend on vectors.
 */
#ifndef CMPRT_CPUS_H
#define CMPRT_CPUS_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU
#endif

#endif
