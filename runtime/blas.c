/* SPDX-License-Identifier: MIT
 *
 * blas.c: the one file that calls BLAS and LAPACK.
 *
 * OpenBLAS gives other bytes for other numbers of threads, so each of its calls is
 * single-threaded, on tiles that follow from the extents alone, and the tiles are
 * spread over threads. Its OpenMP build is single-threaded inside of a parallel
 * region only: every call is in one. Matrices are row-major; to Fortran they are
 * their own transposes. f32 and f64 share the code, a row of `Blas` tells them apart.
 */
#include "sampler.h"

#include <math.h>
#include <string.h>

enum { TILE = 512 };

typedef void Gemm(const char *ta, const char *tb, const int *m, const int *n, const int *k, const void *alpha,
	const void *a, const int *lda, const void *b, const int *ldb, const void *beta, void *c, const int *ldc);
typedef void Syrk(const char *uplo, const char *trans, const int *n, const int *k, const void *alpha, const void *a,
	const int *lda, const void *beta, void *c, const int *ldc);
typedef void Trsm(const char *side, const char *uplo, const char *ta, const char *diag, const int *m, const int *n,
	const void *alpha, const void *a, const int *lda, void *b, const int *ldb);
typedef void Potrf(const char *uplo, const int *n, void *a, const int *lda, int *info);
typedef void Trtri(const char *uplo, const char *diag, const int *n, void *a, const int *lda, int *info);
typedef void Gesdd(const char *job, const int *m, const int *n, void *a, const int *lda, void *s, void *u,
	const int *ldu, void *vt, const int *ldvt, void *work, const int *lwork, int *iwork, int *info);
typedef void Geqrf(
	const int *m, const int *n, void *a, const int *lda, void *tau, void *work, const int *lwork, int *info);
typedef void Orgqr(const int *m, const int *n, const int *k, void *a, const int *lda, const void *tau, void *work,
	const int *lwork, int *info);

Gemm sgemm_, dgemm_;
Syrk ssyrk_;
Trsm strsm_, dtrsm_;
Potrf spotrf_, dpotrf_;
Trtri strtri_, dtrtri_;
Gesdd sgesdd_, dgesdd_;
Geqrf sgeqrf_, dgeqrf_;
Orgqr sorgqr_, dorgqr_;

typedef struct Blas {
	int64_t bytes;
	const void *one, *zero, *minus;
	Gemm *gemm;
	Trsm *trsm;
	Potrf *potrf;
	Trtri *trtri;
	Gesdd *gesdd;
	Geqrf *geqrf;
	Orgqr *orgqr;
} Blas;

static const float single_one = 1, single_zero = 0, single_minus = -1;
static const double double_one = 1, double_zero = 0, double_minus = -1;

static const Blas precisions[] = {
	{4, &single_one, &single_zero, &single_minus, sgemm_, strsm_, spotrf_, strtri_, sgesdd_, sgeqrf_, sorgqr_},
	{8, &double_one, &double_zero, &double_minus, dgemm_, dtrsm_, dpotrf_, dtrtri_, dgesdd_, dgeqrf_, dorgqr_},
};

static char *at(const Blas *blas, const void *matrix, int64_t row, int64_t column, int64_t stride)
{
	return (char *)(uintptr_t)matrix + (row * stride + column) * blas->bytes;
}

static double get(const Blas *blas, const void *matrix, int64_t i)
{
	return blas->bytes == 4 ? (double)((const float *)matrix)[i] : ((const double *)matrix)[i];
}

static void put(const Blas *blas, void *matrix, int64_t i, double value)
{
	if (blas->bytes == 4)
		((float *)matrix)[i] = (float)value;
	else
		((double *)matrix)[i] = value;
}

static int64_t count_tiles(int64_t extent, int64_t tile)
{
	return (extent + tile - 1) / tile;
}

static int64_t tiles_of(int64_t extent)
{
	return count_tiles(extent, TILE);
}

static int part_size(int64_t extent, int64_t first, int64_t tile)
{
	return (int)(extent - first < tile ? extent - first : tile);
}

static int tile_size(int64_t extent, int64_t tile)
{
	return part_size(extent, tile * TILE, TILE);
}

/* ---- products ---- */

/* c[m, n] (+)= +-a[m, depth] * b[depth, n], each perhaps stored transposed; row-major. */
static void product(const Blas *blas, int m, int n, int depth, const void *alpha, const void *a, int a_stride,
	bool a_turned, const void *b, int b_stride, bool b_turned, const void *beta, void *c, int c_stride)
{
	blas->gemm(b_turned ? "T" : "N", a_turned ? "T" : "N", &n, &m, &depth, alpha, b, &b_stride, a, &a_stride, beta, c,
		&c_stride);
}

/* A matrix that BLAS can read: unit stride along one of its axes. */
typedef struct Operand {
	const float *at;
	int64_t stride;
	bool is_turned;
	float *copy;
} Operand;

static Operand operand_of(const float *from, int64_t rows, int64_t columns, int64_t row, int64_t column)
{
	if (column == 1 && row >= columns)
		return (Operand){from, row, false, NULL};
	if (row == 1 && column >= rows)
		return (Operand){from, column, true, NULL};
	float *copy = cmprt_allocate(rows * columns * (int64_t)sizeof *copy);
	for (int64_t i = 0; i < rows; i++)
		for (int64_t j = 0; j < columns; j++)
			copy[i * columns + j] = from[i * row + j * column];
	return (Operand){copy, columns, false, copy};
}

/* The tiles of a product: smaller ones where there would be too few to share out. */
static int64_t product_tile(int64_t m, int64_t n)
{
	enum { LEAST_TILE = 128, LEAST_COUNT = 4 };
	int64_t side = TILE;
	while (side > LEAST_TILE && count_tiles(m, side) * count_tiles(n, side) < LEAST_COUNT)
		side /= 2;
	return side;
}

void cmprt_gemm_f32(void *frame, void *c, int64_t c_row, void *a, int64_t a_row, int64_t a_column, void *b,
	int64_t b_row, int64_t b_column, int64_t m, int64_t n, int64_t depth, int64_t is_taken_off)
{
	if (((CmprtFrame *)frame)->sampler &&
		sample_gemm(frame, c, c_row, a, a_row, a_column, b, b_row, b_column, m, n, depth, is_taken_off))
		return;
	const Blas *blas = &precisions[0];
	Operand left = operand_of(a, m, depth, a_row, a_column), right = operand_of(b, depth, n, b_row, b_column);
	int64_t side = product_tile(m, n), columns = count_tiles(n, side), tiles = count_tiles(m, side) * columns;
#pragma omp parallel for schedule(dynamic, 1)
	for (int64_t tile = 0; tile < tiles; tile++) {
		int64_t row = tile / columns * side, column = tile % columns * side;
		const float *l = left.at + row * (left.is_turned ? 1 : left.stride);
		const float *r = right.at + column * (right.is_turned ? right.stride : 1);
		product(blas, part_size(m, row, side), part_size(n, column, side), (int)depth,
			is_taken_off ? blas->minus : blas->one, l, (int)left.stride, left.is_turned, r, (int)right.stride,
			right.is_turned, is_taken_off ? blas->one : blas->zero, at(blas, c, row, column, c_row), (int)c_row);
	}
	cmprt_release(left.copy);
	cmprt_release(right.copy);
}

/* upper[j, i] = lower[i, j] of one tile, in strips whose rows stay in the cache; on the diagonal for j <= i. */
static void mirror_tile(const float *lower, float *upper, int64_t stride, int rows, int columns, bool is_diagonal)
{
	enum { STRIP = 16 };
	for (int first = 0; first < rows; first += STRIP) {
		int end = first + STRIP < rows ? first + STRIP : rows, last = is_diagonal ? end : columns;
		for (int j = 0; j < last; j++)
			for (int i = is_diagonal && j > first ? j : first; i < end; i++)
				upper[j * stride + i] = lower[i * stride + j];
	}
}

/* Tile [row, column] at or below the diagonal, and what it is above. */
static void square_tile(const Operand *a, float *c, int64_t stride, int64_t n, int64_t row, int64_t column, int depth)
{
	const Blas *blas = &precisions[0];
	int64_t along = a->is_turned ? 1 : a->stride, side = product_tile(n, n);
	int rows = part_size(n, row, side), columns = part_size(n, column, side), a_stride = (int)a->stride,
		c_stride = (int)stride;
	float *lower = c + row * stride + column, *upper = c + column * stride + row;
	if (row == column) {
		ssyrk_("U", a->is_turned ? "N" : "T", &rows, &depth, blas->one, a->at + row * along, &a_stride, blas->zero,
			lower, &c_stride);
	} else {
		product(blas, rows, columns, depth, blas->one, a->at + row * along, a_stride, a->is_turned,
			a->at + column * along, a_stride, !a->is_turned, blas->zero, lower, c_stride);
	}
	mirror_tile(lower, upper, stride, rows, columns, row == column);
}

void cmprt_syrk_f32(
	void *frame, void *c, int64_t c_row, void *a, int64_t a_row, int64_t a_column, int64_t n, int64_t depth)
{
	if (((CmprtFrame *)frame)->sampler && sample_syrk(frame, c, c_row, a, a_row, a_column, n, depth))
		return;
	Operand all = operand_of(a, n, depth, a_row, a_column);
	int64_t side = product_tile(n, n), tiles = count_tiles(n, side);
#pragma omp parallel for schedule(dynamic, 1)
	for (int64_t pair = 0; pair < tiles * tiles; pair++) {
		int64_t row = pair / tiles, column = pair % tiles;
		if (column <= row)
			square_tile(&all, c, c_row, n, row * side, column * side, (int)depth);
	}
	cmprt_release(all.copy);
}

/* ---- Cholesky ---- */

static void fill_nan(const Blas *blas, void *to, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		put(blas, to, i, (double)NAN);
}

/* The tile below the diagonal tile k: L[i, k] = A[i, k] * L[k, k]^-T */
static void solve_tile(const Blas *blas, void *l, int64_t n, int64_t i, int64_t k)
{
	int rows = tile_size(n, i), columns = tile_size(n, k), stride = (int)n;
	blas->trsm("L", "U", "T", "N", &columns, &rows, blas->one, at(blas, l, k * TILE, k * TILE, n), &stride,
		at(blas, l, i * TILE, k * TILE, n), &stride);
}

/* A[i, j] -= L[i, k] * L[j, k]^T */
static void update_tile(const Blas *blas, void *l, int64_t n, int64_t i, int64_t j, int64_t k)
{
	product(blas, tile_size(n, i), tile_size(n, j), tile_size(n, k), blas->minus, at(blas, l, i * TILE, k * TILE, n),
		(int)n, false, at(blas, l, j * TILE, k * TILE, n), (int)n, true, blas->one, at(blas, l, i * TILE, j * TILE, n),
		(int)n);
}

/* l holds A and becomes L, A = L L^T, with zeros above; false if A is not positive definite. Right-looking. */
static bool factor_lower(const Blas *blas, void *l, int64_t n)
{
	int64_t tiles = tiles_of(n);
	int info = 0;
#pragma omp parallel
	for (int64_t k = 0; k < tiles; k++) {
#pragma omp single
		if (info == 0) {
			int size = tile_size(n, k), stride = (int)n, status;
			blas->potrf("U", &size, at(blas, l, k * TILE, k * TILE, n), &stride, &status);
			info = status;
		}
#pragma omp for schedule(dynamic, 1)
		for (int64_t i = k + 1; i < tiles; i++)
			if (info == 0)
				solve_tile(blas, l, n, i, k);
		int64_t left = tiles - k - 1;
#pragma omp for schedule(dynamic, 1)
		for (int64_t pair = 0; pair < left * left; pair++) {
			int64_t i = k + 1 + pair / left, j = k + 1 + pair % left;
			if (info == 0 && j <= i)
				update_tile(blas, l, n, i, j, k);
		}
	}
	for (int64_t i = 0; i < n; i++)
		memset(at(blas, l, i, i + 1, n), 0, (size_t)((n - i - 1) * blas->bytes));
	return info == 0;
}

static void transpose(const Blas *blas, const void *from, void *to, int64_t rows, int64_t columns)
{
	for (int64_t i = 0; i < rows; i++)
		for (int64_t j = 0; j < columns; j++)
			memcpy(at(blas, to, j, i, rows), at(blas, from, i, j, columns), (size_t)blas->bytes);
}

static void transpose_square(const Blas *blas, void *matrix, int64_t n)
{
#pragma omp parallel for schedule(dynamic, 16)
	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < i; j++) {
			double below = get(blas, matrix, i * n + j);
			put(blas, matrix, i * n + j, get(blas, matrix, j * n + i));
			put(blas, matrix, j * n + i, below);
		}
}

int64_t cmprt_cholesky_bytes(int64_t n, bool upper, bool is_double)
{
	return upper ? n * n * precisions[is_double].bytes : 0;
}

void cmprt_cholesky(void *frame, void *in, void *out, int64_t n, int64_t upper, int64_t is_double)
{
	Sampler *sampler = ((CmprtFrame *)frame)->sampler;
	if (sampler) {
		sample_cholesky(sampler, out, n, upper, is_double);
		return;
	}
	const Blas *blas = &precisions[is_double != 0];
	void *l = upper ? cmprt_allocate(n * n * blas->bytes) : out;
	if (l != in)
		memcpy(l, in, (size_t)(n * n * blas->bytes));
	if (!factor_lower(blas, l, n))
		fill_nan(blas, l, n * n);
	if (!upper)
		return;
	transpose(blas, l, out, n, n);
	cmprt_release(l);
}

/* Block column j of X = L^-1, tile by tile downwards. */
static void invert_column(const Blas *blas, const void *l, void *x, int64_t n, int64_t j)
{
	int columns = tile_size(n, j), stride = (int)n;
	for (int64_t i = j; i < tiles_of(n); i++) {
		int rows = tile_size(n, i);
		char *to = at(blas, x, i * TILE, j * TILE, n);
		for (int64_t p = j; p < i; p++)
			product(blas, rows, columns, tile_size(n, p), blas->minus, at(blas, l, i * TILE, p * TILE, n), stride,
				false, at(blas, x, p * TILE, j * TILE, n), stride, false, blas->one, to, stride);
		for (int r = 0; i == j && r < rows; r++)
			put(blas, to, (int64_t)r * n + r, 1);
		blas->trsm(
			"R", "U", "N", "N", &columns, &rows, blas->one, at(blas, l, i * TILE, i * TILE, n), &stride, to, &stride);
	}
}

int64_t cmprt_inverse_bytes(int64_t n, bool is_double)
{
	return 2 * n * n * precisions[is_double].bytes;
}

void cmprt_inverse(void *frame, void *in, void *out, int64_t n, int64_t is_double)
{
	Sampler *sampler = ((CmprtFrame *)frame)->sampler;
	if (sampler) {
		sample_inverse(sampler, out, n, is_double);
		return;
	}
	const Blas *blas = &precisions[is_double != 0];
	int64_t bytes = n * n * blas->bytes, tiles = tiles_of(n);
	void *l = cmprt_allocate(bytes), *x = cmprt_allocate(bytes);
	memcpy(l, in, (size_t)bytes);
	memset(x, 0, (size_t)bytes);
	bool is_definite = factor_lower(blas, l, n);
	if (!is_definite)
		fill_nan(blas, out, n * n);
#pragma omp parallel if (is_definite)
	if (is_definite) {
#pragma omp for schedule(dynamic, 1)
		for (int64_t j = 0; j < tiles; j++)
			invert_column(blas, l, x, n, j);
#pragma omp for schedule(dynamic, 1)
		for (int64_t pair = 0; pair < tiles * tiles; pair++) {
			/* X^T X; rows of X above the later of the two tiles are zero in one factor */
			int64_t i = pair / tiles, j = pair % tiles, first = (i > j ? i : j) * TILE;
			product(blas, tile_size(n, i), tile_size(n, j), (int)(n - first), blas->one,
				at(blas, x, first, i * TILE, n), (int)n, true, at(blas, x, first, j * TILE, n), (int)n, false,
				blas->zero, at(blas, out, i * TILE, j * TILE, n), (int)n);
		}
	}
	cmprt_release(x);
	cmprt_release(l);
}

/* ---- the Cholesky factor of an inverse ---- */

/* Backwards, A = R R', R upper; then U = R^-1 has U'U = A^-1, and neither the inverse nor a second factorization is
 * needed. With the last row and column of A first, R is a lower factor L, and L^-1 read backwards is U. */

/* to[i, j] = from[n - 1 - i, n - 1 - j]; the other way round too, so that to may be from. */
static void reverse(const Blas *blas, const void *from, void *to, int64_t n)
{
	int64_t count = n * n;
#pragma omp parallel for
	for (int64_t i = 0; i < (count + 1) / 2; i++) {
		double first = get(blas, from, i), last = get(blas, from, count - 1 - i);
		put(blas, to, i, last);
		put(blas, to, count - 1 - i, first);
	}
}

/* Tile [i, k] of L^-1, whose tiles [i, k + 1 .. i] are there; `panel` has what was in L[k + 1 .., k]. */
static void invert_tile(const Blas *blas, void *l, const void *panel, int64_t n, int64_t i, int64_t k)
{
	int rows = tile_size(n, i), columns = tile_size(n, k), stride = (int)n;
	int64_t first = (k + 1) * TILE, end = i * TILE + rows;
	char *to = at(blas, l, i * TILE, k * TILE, n);
	product(blas, rows, columns, (int)(end - first), blas->minus, at(blas, l, i * TILE, first, n), stride, false, panel,
		TILE, false, blas->zero, to, stride);
	blas->trsm(
		"L", "U", "N", "N", &columns, &rows, blas->one, at(blas, l, k * TILE, k * TILE, n), &stride, to, &stride);
}

/* l holds a lower factor and becomes its inverse, block columns from the last to the first. panel: [n, TILE] */
static void invert_lower(const Blas *blas, void *l, void *panel, int64_t n)
{
	int64_t tiles = tiles_of(n);
#pragma omp parallel
	for (int64_t k = tiles - 1; k >= 0; k--) {
		int columns = tile_size(n, k), stride = (int)n, info;
		int64_t first = (k + 1) * TILE;
#pragma omp for
		for (int64_t row = first; row < n; row++)
			memcpy(
				at(blas, panel, row - first, 0, TILE), at(blas, l, row, k * TILE, n), (size_t)(columns * blas->bytes));
#pragma omp for schedule(dynamic, 1)
		for (int64_t from_end = 0; from_end < tiles - 1 - k; from_end++)
			invert_tile(blas, l, panel, n, tiles - 1 - from_end, k);
#pragma omp single
		blas->trtri("U", "N", &columns, at(blas, l, k * TILE, k * TILE, n), &stride, &info);
	}
}

int64_t cmprt_inverse_factor_bytes(int64_t n, bool is_double)
{
	return n * TILE * precisions[is_double].bytes;
}

void cmprt_inverse_factor(void *frame, void *in, void *out, int64_t n, int64_t upper, int64_t is_double)
{
	Sampler *sampler = ((CmprtFrame *)frame)->sampler;
	if (sampler) {
		sample_inverse_factor(sampler, out, n, upper, is_double);
		return;
	}
	const Blas *blas = &precisions[is_double != 0];
	reverse(blas, in, out, n);
	if (!factor_lower(blas, out, n)) {
		fill_nan(blas, out, n * n);
		return;
	}
	void *panel = cmprt_allocate(cmprt_inverse_factor_bytes(n, is_double));
	invert_lower(blas, out, panel, n);
	cmprt_release(panel);
	reverse(blas, out, out, n);
	if (!upper)
		transpose_square(blas, out, n);
}

/* ---- svd, qr: one thread ---- */

/* The widest panel that LAPACK ever asks workspace for. */
enum { LAPACK_PANEL = 64 };

/* The matrix, one side's vectors, integers, and what gesdd asks for: of the shorter side's square four times, and
 * panels. */
int64_t cmprt_svd_bytes(int64_t m, int64_t n, bool is_double)
{
	int64_t rank = m < n ? m : n, bytes = precisions[is_double].bytes;
	int64_t work = 4 * rank * rank + 16 * rank + 2 * LAPACK_PANEL * (m + n);
	return (m * n + n * rank + work) * bytes + 8 * rank * (int64_t)sizeof(int);
}

int64_t cmprt_qr_bytes(int64_t m, int64_t n, bool is_double)
{
	int64_t rank = m < n ? m : n;
	return (m * n + rank + 1 + LAPACK_PANEL * (LAPACK_PANEL + n)) * precisions[is_double].bytes;
}

static void fix_signs(const Blas *blas, void *u, void *v, int64_t m, int64_t n, int64_t rank)
{
	for (int64_t j = 0; j < rank; j++) {
		int64_t best = 0;
		for (int64_t i = 1; i < m; i++)
			if (fabs(get(blas, u, i * rank + j)) > fabs(get(blas, u, best * rank + j)))
				best = i;
		if (m == 0 || get(blas, u, best * rank + j) >= 0)
			continue;
		for (int64_t i = 0; i < m; i++)
			put(blas, u, i * rank + j, -get(blas, u, i * rank + j));
		for (int64_t i = 0; i < n; i++)
			put(blas, v, i * rank + j, -get(blas, v, i * rank + j));
	}
}

/* To Fortran the matrix is its transpose, B = A^T = U S V^T: its left vectors are v, its V^T is u as rows lie. */
void cmprt_svd(void *frame, void *in, void *u, void *s, void *v, int64_t m, int64_t n, int64_t is_double)
{
	Sampler *sampler = ((CmprtFrame *)frame)->sampler;
	if (sampler) {
		sample_svd(sampler, u, s, v, m, n, is_double);
		return;
	}
	const Blas *blas = &precisions[is_double != 0];
	int64_t rank = m < n ? m : n;
	void *a = cmprt_allocate(m * n * blas->bytes), *v_turned = cmprt_allocate(n * rank * blas->bytes);
	int *integers = cmprt_allocate(8 * rank * (int64_t)sizeof *integers);
	memcpy(a, in, (size_t)(m * n * blas->bytes));
	int rows = (int)n, columns = (int)m, small = (int)rank, info = 0, ask = -1;
	double size_memory = 0;
#pragma omp parallel
#pragma omp single
	{
		blas->gesdd("S", &rows, &columns, a, &rows, s, v_turned, &rows, u, &small, &size_memory, &ask, integers, &info);
		int size = (int)get(blas, &size_memory, 0);
		void *work = cmprt_allocate(size * blas->bytes);
		blas->gesdd("S", &rows, &columns, a, &rows, s, v_turned, &rows, u, &small, work, &size, integers, &info);
		cmprt_release(work);
	}
	transpose(blas, v_turned, v, rank, n);
	if (info != 0) {
		fill_nan(blas, u, m * rank);
		fill_nan(blas, s, rank);
		fill_nan(blas, v, n * rank);
	}
	fix_signs(blas, u, v, m, n, rank);
	cmprt_release(integers);
	cmprt_release(v_turned);
	cmprt_release(a);
}

static void call_qr(const Blas *blas, void *a, void *r, int m, int n, int rank)
{
	void *tau = cmprt_allocate((rank + 1) * blas->bytes);
	int info, ask = -1;
	double sizes[2] = {0};
	blas->geqrf(&m, &n, a, &m, tau, &sizes[0], &ask, &info);
	blas->orgqr(&m, &rank, &rank, a, &m, tau, &sizes[1], &ask, &info);
	double factor = get(blas, &sizes[0], 0), make = get(blas, &sizes[1], 0);
	int size = (int)(factor > make ? factor : make);
	void *work = cmprt_allocate(size * blas->bytes);
	blas->geqrf(&m, &n, a, &m, tau, work, &size, &info);
	for (int i = 0; i < rank; i++)
		for (int j = 0; j < n; j++)
			put(blas, r, (int64_t)i * n + j, j < i ? 0 : get(blas, a, (int64_t)j * m + i));
	blas->orgqr(&m, &rank, &rank, a, &m, tau, work, &size, &info);
	cmprt_release(work);
	cmprt_release(tau);
}

void cmprt_qr(void *frame, void *in, void *q, void *r, int64_t m, int64_t n, int64_t is_double)
{
	Sampler *sampler = ((CmprtFrame *)frame)->sampler;
	if (sampler) {
		sample_qr(sampler, q, r, m, n, is_double);
		return;
	}
	const Blas *blas = &precisions[is_double != 0];
	int64_t rank = m < n ? m : n;
	void *a = cmprt_allocate(m * n * blas->bytes);
	transpose(blas, in, a, m, n);
#pragma omp parallel
#pragma omp single
	call_qr(blas, a, r, (int)m, (int)n, (int)rank);
	for (int64_t i = 0; i < rank; i++) {
		double sign = get(blas, r, i * n + i) < 0 ? -1 : 1;
		for (int64_t j = i; j < n; j++)
			put(blas, r, i * n + j, sign * get(blas, r, i * n + j));
		for (int64_t j = 0; j < m; j++)
			put(blas, q, j * rank + i, sign * get(blas, a, i * m + j));
	}
	cmprt_release(a);
}
