/* SPDX-License-Identifier: MIT
 *
 * kernels.h: a chain of passes as something to be timed. The passes are compiled as
 * `cmpc run` does it: a .cmp text and the headers of a checkpoint go through the
 * stages to an object, which is loaded into this process.
 */
#ifndef KERNELS_H
#define KERNELS_H

#include "bench.h"

typedef struct BenchKernel BenchKernel;

/* passes: the statement's passes, "quantize.rtn(q8_0)", separated by semicolons, in this order. The matrix is
 * rows x cols f32. container: which format's layout the result has. Errors are printed, then the process ends. */
BenchKernel *kernel_compile(const char *passes, const char *container, int64_t rows, int64_t cols);
void kernel_free(BenchKernel *kernel);
/* The work of running it, on at most `threads` threads. from: the matrix; to: for the outputs, one after the other. */
BenchWork kernel_work(BenchKernel *kernel, const char *name, const float *from, char *to, int threads);
int64_t kernel_bytes(const BenchKernel *kernel); /* of the outputs together */

#endif
