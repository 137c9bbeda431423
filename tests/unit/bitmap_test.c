/* SPDX-License-Identifier: MIT
 *
 * bitmap_test.c: block layouts built by hand, traced, inverted, and random fields
 * packed by the one and read back by the other. Layouts that lose, repeat or mix
 * bits are refused.
 */
#include "kernel.h"
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { FIELDS = 4, ROWS = 2, BLOCKS = 3, MOST_ELEMENTS = 256 };

/* A layout under construction: a kernel that packs one block. */
typedef struct Pack {
	Kernel *k;
	KBuffer *out; /* bytes or words of the block */
	KBuffer *fields[FIELDS];
	uint32_t field_count;
	int64_t at; /* bytes written so far */
} Pack;

static KExpr *i32(Pack *p, int64_t value)
{
	return kexpr_int(p->k, T_I32, value);
}

static KExpr *op(Pack *p, KOp kind, KExpr *a, int64_t b)
{
	return kexpr_binary(p->k, kind, a, i32(p, b));
}

static KExpr *add(Pack *p, KExpr *a, KExpr *b)
{
	return kexpr_binary(p->k, OP_ADD, a, b);
}

static KExpr *either(Pack *p, KExpr *a, KExpr *b)
{
	return kexpr_binary(p->k, OP_BIT_OR, a, b);
}

static KExpr *shl(Pack *p, KExpr *a, int64_t by)
{
	return op(p, OP_SHL, a, by);
}

static KExpr *shr(Pack *p, KExpr *a, int64_t by)
{
	return op(p, OP_SHR, a, by);
}

static KExpr *low(Pack *p, KExpr *a, int64_t mask)
{
	return op(p, OP_BIT_AND, a, mask);
}

static Pack pack_new(Compiler *c, const char *type, int64_t size)
{
	Pack p = {.k = kernel_new(c, name_of(c, "pack"))};
	KExpr *extent = i32(&p, size);
	p.out = kbuffer_new(p.k, BUFFER_OUTPUT, name_of(c, "out"), store_find(name_of(c, type)), 1, &extent);
	return p;
}

static KBuffer *field(Pack *p, const char *name, const char *type, uint32_t rank, int64_t a, int64_t b)
{
	Compiler *c = p->k->c;
	KExpr *extents[] = {i32(p, a), i32(p, b)};
	KBuffer *made = kbuffer_new(p->k, BUFFER_INPUT, name_of(c, name), store_find(name_of(c, type)), rank, extents);
	p->fields[p->field_count++] = made;
	return made;
}

static KExpr *get1(Pack *p, KBuffer *from, KExpr *a)
{
	return kexpr_load(p->k, from, &a);
}

static KExpr *get2(Pack *p, KBuffer *from, KExpr *a, KExpr *b)
{
	return kexpr_load(p->k, from, (KExpr *[]){a, b});
}

static KIndex *range(Pack *p, int64_t count)
{
	return kindex_new(p->k, name_of(p->k->c, "j"), i32(p, 0), i32(p, count), 1);
}

/* byte[i.., ..] = value at the next place */
static void put(Pack *p, KIndex **indices, uint32_t count, const char *type, KExpr *value)
{
	Store store = store_find(name_of(p->k->c, type));
	int64_t stride = store_bytes(store), extent;
	KExpr *offset = i32(p, p->at);
	for (uint32_t i = count; i-- > 0;) {
		offset = add(p, offset, op(p, OP_MUL, kexpr_index(p->k, indices[i]), stride));
		if (kexpr_is_const(indices[i]->hi, &extent))
			stride *= extent;
	}
	KStep *step = kstep_map(p->k, p->out, &offset, indices, count, value);
	step->store = store;
	vec_push(p->k->c->arena, &p->k->steps, step);
	p->at += stride;
}

static void put_scalar(Pack *p, KBuffer *from)
{
	put(p, NULL, 0, "f16", kexpr_load(p->k, from, NULL));
}

/* A temporary between: total[j] = sum over l < count of value */
static KExpr *put_sum(Pack *p, KIndex *j, KIndex *l, KExpr *value)
{
	KBuffer *total = kbuffer_new(p->k, BUFFER_TEMP, NULL, store_of_type(T_I32), 1, &j->hi);
	KExpr *sub = kexpr_index(p->k, j);
	vec_push(p->k->c->arena, &p->k->steps, kstep_reduce(p->k, REDUCE_SUM, total, &sub, &j, 1, &l, 1, value));
	return kexpr_load(p->k, total, &sub);
}

/* ---- packing and reading back ---- */

static bool trace(Pack *p, Bitmap *map)
{
	int64_t rows = 1;
	CHECK(kernel_verify(p->k), "the packing is no kernel");
	return bitmap_trace(p->k, &p->k->steps, &p->out, 1, p->fields, p->field_count, &rows, map);
}

static size_t elements_of(const Pack *p, uint32_t i)
{
	size_t count = 1;
	int64_t extent;
	for (uint32_t axis = 0; axis < p->fields[i]->rank; axis++)
		if (kexpr_is_const(p->fields[i]->extent[axis], &extent))
			count *= (size_t)extent;
	return count;
}

/* A kernel from packed [rows, BLOCKS * size] to fields [rows, BLOCKS, own axes..]. */
static Kernel *build_reader(Pack *p, const Bitmap *map)
{
	Compiler *c = p->k->c;
	Kernel *k = kernel_new(c, name_of(c, "read"));
	KExpr *rows = kexpr_param(k, 0), *blocks = kexpr_int(k, T_I32, BLOCKS);
	KExpr *wide[] = {rows, kexpr_binary(k, OP_MUL, p->out->extent[0], blocks)};
	KBuffer *packed = kbuffer_new(k, BUFFER_INPUT, name_of(c, "packed"), p->out->store, 2, wide);
	KIndex *around[] = {kindex_new(k, name_of(c, "o"), kexpr_int(k, T_I32, 0), rows, 1),
		kindex_new(k, name_of(c, "g"), kexpr_int(k, T_I32, 0), blocks, 1)};
	KExpr *lead[] = {kexpr_index(k, around[0]), kexpr_index(k, around[1])};
	KExpr *subs[] = {lead[0], kexpr_binary(k, OP_MUL, lead[1], p->out->extent[0])};
	BitSource source = {packed, subs};
	BitTarget targets[FIELDS];
	for (uint32_t i = 0; i < p->field_count; i++) {
		const KBuffer *from = p->fields[i];
		KExpr *extents[4] = {rows, blocks, from->extent[0], from->extent[1]};
		KBuffer *to = kbuffer_new(k, BUFFER_OUTPUT, from->name, from->store, 2 + from->rank, extents);
		targets[i] = (BitTarget){to, lead, 2};
	}
	CHECK(bitmap_invert(k, map, &source, targets, around, 2, &k->steps), "inverted");
	return k;
}

static uint64_t random_state = 3;

static uint32_t next_random(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_state >> 32);
}

/* Packs random fields block by block, reads all blocks back, compares. */
static void round_trip(Pack *p, Kernel *reader, const char *name)
{
	static uint8_t in[FIELDS][ROWS * BLOCKS * MOST_ELEMENTS * 8], back[FIELDS][ROWS * BLOCKS * MOST_ELEMENTS * 8];
	static uint8_t packed[ROWS * BLOCKS * 4096];
	int64_t size = 0, rows = ROWS;
	kexpr_is_const(p->out->extent[0], &size);
	size *= store_bytes(p->out->store);
	void *inputs[FIELDS], *outputs[FIELDS];
	for (int block = 0; block < ROWS * BLOCKS; block++) {
		for (uint32_t i = 0; i < p->field_count; i++) {
			Store store = p->fields[i]->store;
			size_t width = store_bytes(store), count = elements_of(p, i);
			uint8_t *at = inputs[i] = in[i] + (size_t)block * count * width;
			for (size_t e = 0; e < count; e++) {
				uint64_t bits =
					((uint64_t)next_random() << 32 | next_random()) & (store.kind == STORE_F16 ? 0xf7ff : UINT64_MAX);
				store_save(store, at + e * width, store_type(store), store_unpack(store, bits));
			}
			outputs[i] = back[i];
		}
		CHECK(kernel_interpret(p->k, inputs, (void *[]){packed + block * size}, &rows), "%s packs", name);
	}
	CHECK(kernel_verify(reader), "%s", name);
	CHECK(kernel_interpret(reader, (void *[]){packed}, outputs, &rows), "%s reads", name);
	for (uint32_t i = 0; i < p->field_count; i++) {
		size_t bytes = ROWS * BLOCKS * elements_of(p, i) * store_bytes(p->fields[i]->store);
		CHECK(memcmp(in[i], back[i], bytes) == 0, "%s: %s comes back changed", name, p->fields[i]->name);
	}
}

/* steps, tables: how many the reader has */
static void check_layout(Pack *p, const char *name, size_t steps, size_t tables)
{
	Bitmap map;
	bool is_good = trace(p, &map);
	CHECK(is_good, "%s is invertible", name);
	diag_flush(p->k->c, stdout);
	if (!is_good)
		return;
	Kernel *reader = build_reader(p, &map);
	size_t found = 0;
	for (size_t i = 0; i < reader->buffers.count; i++)
		found += reader->buffers.at[i]->kind == BUFFER_TABLE;
	round_trip(p, reader, name);
	CHECK(
		reader->steps.count == steps && found == tables, "%s: %zu steps, %zu tables", name, reader->steps.count, found);
	if (getenv("VERBOSE")) {
		Text text = {.arena = p->k->c->arena};
		kernel_print(reader, &text);
		printf("%s: %s\n", name, text.at);
	}
	diag_flush(p->k->c, stdout);
}

/* ---- layouts ---- */

static void test_q4_K(Compiler *c)
{
	Pack p = pack_new(c, "u8", 144);
	KBuffer *d = field(&p, "d", "f16", 0, 0, 0), *dmin = field(&p, "dmin", "f16", 0, 0, 0);
	KBuffer *scales = field(&p, "s", "u6", 2, 2, 8), *q = field(&p, "q", "u4", 2, 8, 32);
	put_scalar(&p, d);
	put_scalar(&p, dmin);
	for (int part = 0; part < 3; part++) { /* s[0] are the scales, s[1] the minima */
		KIndex *j = range(&p, 4);
		KExpr *sub = kexpr_index(p.k, j), *high = op(&p, OP_ADD, sub, 4), *which = i32(&p, part == 1);
		KExpr *value = either(
			&p, low(&p, get2(&p, scales, which, sub), 63), shl(&p, shr(&p, get2(&p, scales, which, high), 4), 6));
		if (part == 2)
			value = either(&p, low(&p, get2(&p, scales, i32(&p, 0), high), 15),
				shl(&p, low(&p, get2(&p, scales, i32(&p, 1), high), 15), 4));
		put(&p, &j, 1, "u8", value);
	}
	KIndex *at[] = {range(&p, 4), range(&p, 32)};
	KExpr *pair = op(&p, OP_MUL, kexpr_index(p.k, at[0]), 2), *l = kexpr_index(p.k, at[1]);
	put(&p, at, 2, "u8", either(&p, get2(&p, q, pair, l), shl(&p, get2(&p, q, op(&p, OP_ADD, pair, 1), l), 4)));
	check_layout(&p, "q4_K", 5, 0);
}

static void test_q5_0(Compiler *c)
{
	Pack p = pack_new(c, "u8", 22);
	KBuffer *d = field(&p, "d", "f16", 0, 0, 0), *q = field(&p, "q", "u5", 1, 32, 0);
	put_scalar(&p, d);
	KIndex *j = range(&p, 4), *l = range(&p, 8), *i = range(&p, 16);
	KExpr *fifth = shr(&p, get1(&p, q, add(&p, op(&p, OP_MUL, kexpr_index(p.k, j), 8), kexpr_index(p.k, l))), 4);
	put(&p, &j, 1, "u8", put_sum(&p, j, l, kexpr_binary(p.k, OP_SHL, fifth, kexpr_index(p.k, l))));
	KExpr *sub = kexpr_index(p.k, i);
	KExpr *high = shl(&p, low(&p, get1(&p, q, op(&p, OP_ADD, sub, 16)), 15), 4);
	put(&p, &i, 1, "u8", either(&p, low(&p, get1(&p, q, sub), 15), high));
	check_layout(&p, "q5_0", 2, 0);
}

/* byte[h < 2, m < 2, l < 16] of four 2-bit parts of q[16, 16], as q2_K, q3_K, q6_K have it */
static void put_quarters(Pack *p, KBuffer *q, int64_t shift)
{
	KIndex *at[] = {range(p, 2), range(p, 2), range(p, 16)};
	KExpr *group = add(p, op(p, OP_MUL, kexpr_index(p->k, at[0]), 8), kexpr_index(p->k, at[1])), *value = i32(p, 0);
	for (int part = 0; part < 4; part++) {
		KExpr *code = get2(p, q, op(p, OP_ADD, group, 2 * part), kexpr_index(p->k, at[2]));
		value = either(p, value, shl(p, low(p, shr(p, code, shift), 3), 2 * part));
	}
	put(p, at, 3, "u8", value);
}

static void test_q6_K(Compiler *c)
{
	Pack p = pack_new(c, "u8", 210);
	KBuffer *q = field(&p, "q", "u6", 2, 16, 16), *sc = field(&p, "sc", "i8", 1, 16, 0),
			*d = field(&p, "d", "f16", 0, 0, 0);
	KIndex *at[] = {range(&p, 2), range(&p, 2), range(&p, 2), range(&p, 16)}, *j = range(&p, 16);
	KExpr *group = add(&p, op(&p, OP_MUL, kexpr_index(p.k, at[0]), 8), op(&p, OP_MUL, kexpr_index(p.k, at[1]), 2));
	group = add(&p, group, kexpr_index(p.k, at[2]));
	KExpr *l = kexpr_index(p.k, at[3]), *high = low(&p, get2(&p, q, op(&p, OP_ADD, group, 4), l), 15);
	put(&p, at, 4, "u8", either(&p, low(&p, get2(&p, q, group, l), 15), shl(&p, high, 4)));
	put_quarters(&p, q, 4);
	put(&p, &j, 1, "i8", get1(&p, sc, kexpr_index(p.k, j)));
	put_scalar(&p, d);
	check_layout(&p, "q6_K", 3, 0);
}

static void test_q3_K(Compiler *c)
{
	Pack p = pack_new(c, "u8", 110);
	KBuffer *q = field(&p, "q", "u3", 2, 16, 16), *sc = field(&p, "sc", "u6", 1, 16, 0),
			*d = field(&p, "d", "f16", 0, 0, 0);
	KIndex *at[] = {range(&p, 2), range(&p, 16)}, *j = range(&p, 8), *i = range(&p, 4);
	KExpr *value = i32(&p, 0);
	for (int part = 0; part < 8; part++) {
		KExpr *code = get2(&p, q, op(&p, OP_ADD, kexpr_index(p.k, at[0]), 2 * part), kexpr_index(p.k, at[1]));
		value = add(&p, value, shl(&p, shr(&p, code, 2), part)); /* a sum of disjoint bits */
	}
	put(&p, at, 2, "u8", value);
	put_quarters(&p, q, 0);
	KExpr *a = kexpr_index(p.k, j), *b = kexpr_index(p.k, i);
	KExpr *upper = shl(&p, low(&p, get1(&p, sc, op(&p, OP_ADD, a, 8)), 15), 4);
	put(&p, &j, 1, "u8", either(&p, low(&p, get1(&p, sc, a), 15), upper));
	value = i32(&p, 0);
	for (int part = 0; part < 4; part++)
		value = either(&p, value, shl(&p, shr(&p, get1(&p, sc, op(&p, OP_ADD, b, 4 * part)), 4), 2 * part));
	put(&p, &i, 1, "u8", value);
	put_scalar(&p, d);
	check_layout(&p, "q3_K", 3, 0);
}

static void test_q2_K(Compiler *c)
{
	Pack p = pack_new(c, "u8", 84);
	KBuffer *sc = field(&p, "sc", "u4", 1, 16, 0), *mn = field(&p, "mn", "u4", 1, 16, 0);
	KBuffer *q = field(&p, "q", "u2", 2, 16, 16), *d = field(&p, "d", "f16", 1, 2, 0);
	KIndex *j = range(&p, 16), *both = range(&p, 2);
	KExpr *sub = kexpr_index(p.k, j);
	KExpr *upper = op(&p, OP_MUL, get1(&p, mn, sub), 16); /* a shift in other words */
	put(&p, &j, 1, "u8", add(&p, get1(&p, sc, sub), upper));
	put_quarters(&p, q, 0);
	put(&p, &both, 1, "f16", get1(&p, d, kexpr_index(p.k, both)));
	check_layout(&p, "q2_K", 4, 0);
}

/* words of eight nibbles, as planes have them; signed codes; a scale of another kind as raw bits */
static void test_words(Compiler *c)
{
	Pack p = pack_new(c, "i32", 8);
	KBuffer *q = field(&p, "q", "i4", 1, 64, 0);
	KIndex *j = range(&p, 8), *l = range(&p, 8);
	KExpr *code = low(&p, get1(&p, q, add(&p, op(&p, OP_MUL, kexpr_index(p.k, j), 8), kexpr_index(p.k, l))), 15);
	KExpr *moved = kexpr_binary(p.k, OP_SHL, code, op(&p, OP_MUL, kexpr_index(p.k, l), 4));
	KExpr *word = put_sum(&p, j, l, moved), *sub = kexpr_index(p.k, j);
	vec_push(c->arena, &p.k->steps, kstep_map(p.k, p.out, &sub, &j, 1, word));
	check_layout(&p, "words", 1, 0);
}

static void test_odd_types(Compiler *c)
{
	Pack p = pack_new(c, "u8", 25);
	KBuffer *e = field(&p, "e", "e8m0", 0, 0, 0), *m = field(&p, "m", "bool", 1, 8, 0);
	KBuffer *z = field(&p, "z", "i64", 1, 2, 0), *w = field(&p, "w", "u13", 1, 2, 0);
	put(&p, NULL, 0, "u8", kexpr_store(p.k, OP_BITS, store_find(name_of(c, "e8m0")), kexpr_load(p.k, e, NULL)));
	KExpr *mask = i32(&p, 0);
	for (int i = 0; i < 8; i++) {
		KExpr *one = get1(&p, m, i32(&p, i));
		one = i % 2 ? kexpr_cast(p.k, T_I32, one) : kexpr_select(p.k, one, i32(&p, 1), i32(&p, 0));
		mask = either(&p, mask, shl(&p, one, i));
	}
	put(&p, NULL, 0, "u8", mask);
	KIndex *j = range(&p, 2);
	put(&p, &j, 1, "i64", get1(&p, z, kexpr_index(p.k, j)));
	/* 13 bits across bytes: low 8, then 5 and 5 more, and padding */
	j = range(&p, 2);
	put(&p, &j, 1, "u8", low(&p, get1(&p, w, kexpr_index(p.k, j)), 255));
	KExpr *rest = op(&p, OP_IDIV, get1(&p, w, i32(&p, 0)), 256), *other = shr(&p, get1(&p, w, i32(&p, 1)), 8);
	put(&p, NULL, 0, "u16", either(&p, rest, shl(&p, other, 5)));
	put(&p, NULL, 0, "u16", i32(&p, 0xabcd));
	put(&p, NULL, 0, "u8", i32(&p, 0));
	check_layout(&p, "odd types", 4, 0);
}

/* A scattered order has no closed form. */
static void test_table(Compiler *c)
{
	Pack p = pack_new(c, "u8", 13);
	KBuffer *q = field(&p, "q", "u4", 1, 26, 0);
	for (int i = 0; i < 13; i++) {
		KExpr *second = get1(&p, q, i32(&p, 13 + i * 5 % 13));
		put(&p, NULL, 0, "u8", either(&p, get1(&p, q, i32(&p, i)), shl(&p, second, 4)));
	}
	check_layout(&p, "scattered", 1, 2);
}

/* ---- refusals ---- */

static void check_refused(Pack *p, const char *text)
{
	DiagVec *diags = &p->k->c->diags;
	size_t before = diags->count;
	Bitmap map;
	bool is_good = trace(p, &map), is_found = false;
	for (size_t i = before; i < diags->count; i++)
		is_found |= strstr(diags->at[i].text, text) != NULL;
	CHECK(!is_good && is_found, "%s: %s", text, diags->count > before ? diags->at[before].text : "accepted");
}

static void test_refusals(Compiler *c)
{
	Pack p = pack_new(c, "u8", 2);
	KBuffer *q = field(&p, "q", "u4", 1, 4, 0);
	KIndex *j = range(&p, 2);
	put(&p, &j, 1, "u8", get1(&p, q, kexpr_index(p.k, j)));
	check_refused(&p, "bit 0 of q[2] is stored nowhere");
	p = pack_new(c, "u8", 2);
	q = field(&p, "q", "u4", 1, 2, 0);
	j = range(&p, 2);
	KExpr *code = get1(&p, q, kexpr_index(p.k, j));
	put(&p, &j, 1, "u8", either(&p, code, shl(&p, code, 4)));
	check_refused(&p, "bit 0 of q[0] is stored twice");
	p = pack_new(c, "u8", 1);
	q = field(&p, "q", "u4", 1, 2, 0);
	put(&p, NULL, 0, "u8", add(&p, get1(&p, q, i32(&p, 0)), shl(&p, get1(&p, q, i32(&p, 1)), 3)));
	check_refused(&p, "bit 3 of byte 0 is not one bit of a field");
	p = pack_new(c, "u8", 2);
	q = field(&p, "q", "u8", 1, 1, 0);
	put(&p, NULL, 0, "u8", get1(&p, q, i32(&p, 0)));
	check_refused(&p, "leaves byte 1 of the block unwritten");
	p = pack_new(c, "u8", 1);
	q = field(&p, "q", "u8", 1, 1, 0);
	put(&p, NULL, 0, "u8", get1(&p, q, i32(&p, 0)));
	p.at = 0;
	put(&p, NULL, 0, "u8", get1(&p, q, i32(&p, 0)));
	check_refused(&p, "bit 0 of byte 0 is written twice");
}

int main(void)
{
	Compiler *c = compiler_new();
	test_q4_K(c);
	test_q5_0(c);
	test_q6_K(c);
	test_q3_K(c);
	test_q2_K(c);
	test_words(c);
	test_odd_types(c);
	test_table(c);
	test_refusals(c);
	compiler_free(c);
	return finish("bitmap_test");
}
