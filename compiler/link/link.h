/* SPDX-License-Identifier: MIT
 *
 * link.h: an object and the runtime archive to an executable.
 */
#ifndef CMPC_LINK_H
#define CMPC_LINK_H

#include "base.h"

typedef struct LinkOptions {
	const char *object; /* bytes of a relocatable object that defines main */
	size_t object_count;
	const char *triple;      /* as the folders of the runtimes are called: "x86_64-linux-gnu" */
	const char *runtimes;    /* the folder that holds TRIPLE/libcmprt.a */
	const char *openblas;    /* the folder that holds libopenblas.a for that triple; NULL: it is not called */
	bool reads_text;         /* it has data that are text: tokenizers come along, and the library that they need */
	bool reads_pictures;     /* the same of pictures */
	const char *host_triple; /* where cmpc itself runs */
	bool is_shared;          /* libc and OpenBLAS are found where it runs */
	const char *output;
} LinkOptions;

/* Writes the executable under a temporary name and renames it. What goes wrong is reported in one line. */
bool link_executable(Compiler *c, const LinkOptions *options);

#endif
