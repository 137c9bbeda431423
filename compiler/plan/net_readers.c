/* SPDX-License-Identifier: MIT
 *
 * net_readers.c: which parts of a net read a tensor, found by its lines alone. A line
 * of the net's own that is computed where it is read, or stands for a weight that the
 * checkpoint lacks, is read through. On entry the net is fitted.
 */
#include "net.h"

/* How an array is read: at places that another array says, as an embedding's rows are; and in any other way. */
enum { READ_NOT = 0, READ_PICKED = 1, READ_PLAINLY = 2 };

static bool has_subscripts(const Node *node)
{
	if (!node)
		return false;
	bool found = node->kind == N_INDEX;
	for (uint32_t i = 0; i < node->kid_count && !found; i++)
		found = has_subscripts(node->kids[i]);
	return found;
}

static unsigned reads_itself(const Node *node, Name name)
{
	if (!node)
		return READ_NOT;
	if (node->kind == N_NAME)
		return node->name == name ? READ_PLAINLY : READ_NOT;
	bool is_array = node->kind == N_INDEX && node->kids[0]->kind == N_NAME && node->kids[0]->name == name;
	unsigned found = is_array ? READ_PLAINLY : READ_NOT;
	for (uint32_t i = is_array; i < node->kid_count; i++) {
		if (is_array && has_subscripts(node->kids[i]))
			found = READ_PICKED;
		found |= reads_itself(node->kids[i], name);
	}
	return found;
}

/* Is line number i of the net's own nothing by itself, but part of the lines that read it? */
static bool is_read_through(const Net *net, uint32_t i)
{
	const Node *line = net->node->kids[0]->kids[i];
	if (line->kind != N_DEFINE || line->kids[0]->kind == N_TUPLE)
		return false;
	return line->kids[2]->kind == N_WEIGHT || net_is_derived(net->node, node_array(line->kids[0])->name);
}

/* lines: of the net's own, that may be read through */
static unsigned reads(const Net *net, const Node *node, Name name, uint32_t lines)
{
	unsigned found = reads_itself(node, name);
	for (uint32_t i = lines; i-- > 0;) {
		const Node *line = net->node->kids[0]->kids[i];
		if (!is_read_through(net, i) || !node_mentions(node, node_array(line->kids[0])->name))
			continue;
		const NetWeight *weight = line->kids[2]->kind == N_WEIGHT ? net_weight(net, line, -1) : NULL;
		if (!weight || !weight->file)
			found |= reads(net, line->kids[2], name, i);
	}
	return found;
}

/* What of a line may read arrays: of a weight's only what stands behind `else`, as roles are no arrays. */
static const Node *reading_part(const Node *line)
{
	bool is_weight = line->kind == N_DEFINE && line->kids[2]->kind == N_WEIGHT;
	return is_weight ? line->kids[2]->kids[2] : line;
}

static unsigned instance_reads(const Net *net, const NetInstance *instance, const NetWeight *weight)
{
	Name name = node_array(weight->line->kids[0])->name;
	const Node *body = instance->layer ? instance->layer->kids[1] : net->node->kids[0];
	uint32_t first = instance->layer ? 0 : instance->first, end = instance->layer ? body->kid_count : instance->end;
	bool is_own = weight->layer < 0;
	for (uint32_t i = 0; i < body->kid_count && instance->layer && weight->layer == instance->number; i++)
		is_own |= body->kids[i] == weight->line;
	unsigned found = READ_NOT;
	for (uint32_t i = first; i < end && is_own; i++)
		if (body->kids[i] != weight->line && body->kids[i]->kind != N_LAYER && reading_part(body->kids[i]) &&
			(instance->layer || !is_read_through(net, i)))
			found |= reads(net, reading_part(body->kids[i]), name, net->node->kids[0]->kid_count);
	return found;
}

NetReader net_reader(Net *net, const CkTensor *file)
{
	NetReader reader = {0};
	for (size_t i = 0; i < net->weights.count && !reader.weight; i++)
		for (size_t m = 0; m < net->weights.at[i].members.count && !reader.weight; m++)
			if (member_is_of(&net->weights.at[i].members.at[m], file)) {
				reader.weight = &net->weights.at[i];
				reader.member = &reader.weight->members.at[m];
			}
	for (size_t i = 0; i < net->instances.count && reader.weight; i++) {
		unsigned found = instance_reads(net, &net->instances.at[i], reader.weight);
		if (!found)
			continue;
		reader.first = reader.count++ ? reader.first : i;
		reader.last = i;
		if (found & READ_PLAINLY && !reader.products++)
			reader.product = i;
	}
	return reader;
}
