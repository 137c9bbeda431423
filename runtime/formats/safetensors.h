/* SPDX-License-Identifier: MIT
 *
 * safetensors.h: between safetensors.c (the row, reading) and safetensors_write.c
 * (lay_out). The file: u64 length N, N bytes of JSON, the data that the tensors
 * tile without gap or overlap.
 */
#ifndef CMPRT_SAFETENSORS_H
#define CMPRT_SAFETENSORS_H

#include "parts.h"

typedef struct SafetensorsState {
	bool has_index;
} SafetensorsState;

/* Bits of an element, 0: no such dtype. */
int safetensors_bits(const char *dtype);
/* Bytes of a tensor; false: too many, or not whole bytes (`reason` says which). */
bool safetensors_bytes(const char *dtype, const int64_t *shape, int64_t rank, int64_t *bytes, const char **reason);
extern const Format format_safetensors;
CkLayout *safetensors_lay_out(
	const CmprtProgram *program, const Checkpoint *source, bool into_folder, CmprtError *error);

#endif
