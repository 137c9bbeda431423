/* SPDX-License-Identifier: MIT
 *
 * net_finite.c: what is NaN or infinite in a network. It spreads to all that comes after
 * it, so it is told where it is first seen: in a weight that a call has just read, or
 * decoded, then in what a call makes of weights that are all finite. There the largest
 * of them is named too, as it is what makes numbers overflow.
 */
#include "forward.h"

#include <math.h>
#include <string.h>

static bool is_watched(const Forward *forward)
{
	return forward->run->options->nonfinite != CMPRT_NONFINITE_KEEP;
}

bool net_check_weight(const Forward *forward, int64_t number, void *at, CmprtError *error)
{
	const CkTensor *tensor = forward->run->inputs[number];
	if (!is_watched(forward))
		return true;
	if (forward->run->options->nonfinite == CMPRT_NONFINITE_ZERO) {
		nonfinite_zero(tensor->dtype, at, tensor->bytes);
		return true;
	}
	int64_t element = nonfinite_find(tensor->dtype, at, tensor->bytes);
	if (element == FINITE)
		return true;
	forward->run->has_nonfinite = true;
	return error_nonfinite(error, tensor->name, element, tensor);
}

bool net_check_decoded(const Forward *forward, const CmprtPiece *piece, void *at, CmprtError *error)
{
	if (!is_watched(forward))
		return true;
	if (forward->run->options->nonfinite == CMPRT_NONFINITE_ZERO) {
		nonfinite_zero("F32", at, piece->bytes);
		return true;
	}
	int64_t element = nonfinite_find("F32", at, piece->bytes);
	if (element == FINITE)
		return true;
	forward->run->has_nonfinite = true;
	return error_nonfinite_coded(error, forward->run->inputs[piece->decodes->parts[0]]->name, element);
}

/* ---- what a call makes ---- */

/* Of the tensors that the call holds, the one with the largest number in it; NULL: it holds none. */
static const char *find_largest(const Forward *forward, const CmprtCall *call, double *most)
{
	const char *found = NULL;
	*most = -1;
	for (int64_t i = 0; i < call->operand_count; i++) {
		const char *at = forward->buffers[i];
		for (int64_t p = 0; p < call->operands[i].piece_count; p++) {
			const CmprtPiece *piece = &call->operands[i].pieces[p];
			int64_t number = piece->decode_count ? piece->decodes->parts[0] : piece->tensor;
			const CkTensor *tensor = number >= 0 ? forward->run->inputs[number] : NULL;
			double own = tensor ? nonfinite_largest(piece->decode_count ? "F32" : tensor->dtype, at, piece->bytes) : -1;
			found = own > *most ? tensor->name : found;
			*most = fmax(own, *most);
			at += piece->bytes;
		}
	}
	return found;
}

/* The tensor whose job asks for a statistic of what the call leaves there; NULL: none does. */
static const char *find_met(const Forward *forward, const CmprtCall *call, int64_t left)
{
	const CmprtProgram *program = forward->run->program;
	for (int64_t s = 0; s < call->statistic_count; s++)
		for (int64_t j = 0; call->statistics[s].left == left && j < program->job_count; j++)
			for (int64_t p = 1; p < program->jobs[j].port_in_count; p++)
				if (program->jobs[j].ports_in[p].value == call->statistics[s].value)
					return program->jobs[j].label;
	return NULL;
}

bool net_check_state(
	const Forward *forward, const CmprtCall *call, int64_t left, int64_t sample, const void *from, CmprtError *error)
{
	const CmprtState *of = &forward->net->states[call->left[left]];
	if (strcmp(of->dtype, "<f4") || !is_watched(forward))
		return true;
	int64_t element = nonfinite_find("F32", from, forward_state_bytes(forward, call->left[left], sample));
	if (element == FINITE)
		return true;
	double most;
	const char *met = find_met(forward, call, left), *largest = find_largest(forward, call, &most);
	forward->run->has_nonfinite = true;
	return error_nonfinite_state(error, call->label, of->name, met, sample, element, largest, most);
}
