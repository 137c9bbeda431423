#!/bin/bash
# SPDX-License-Identifier: MIT
# Every pipeline under examples/: it checks, its plan tells the size of what comes out to the byte, the
# executable and `cmpc run` write the same bytes for any number of threads and with the least memory that will
# do, and so does the plan as it is printed, which planned again is the same.
set -u
examples=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}/examples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
	echo "FAIL: $*"
	failed=1
}

size_of() { # bytes of all files that hold tensors
	find "$1" -type f \( -name '*.safetensors' -o -name '*.gguf' \) -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'
}

same() {
	diff -r -q "$1" "$2" >/dev/null
}

source_hash() {
	"$CMPC" inspect --all "$1" | sed -n 's/^ *cmpc.source_hash (string) //p'
}

# The same but for the hash of the source.
same_result() {
	local a hash_a hash_b
	hash_a=$(source_hash "$1") hash_b=$(source_hash "$2")
	test -n "$hash_a" && test -n "$hash_b" || return 1
	while read -r a; do
		cmp -s <(sed "s/$hash_a/-/" "$a") <(sed "s/$hash_b/-/" "$2${a#"$1"}") || return 1
	done < <(find "$1" -type f)
}

# What a limit that is too small names as the smallest.
check_memory() {
	local name=$1 exe=$2 expected=$3 suffix=$4 least threads
	for threads in 1 7; do
		least=$("$exe" --output "$expected-memory$suffix" --threads $threads --memory 1 2>&1 |
			sed -n 's/.*the smallest that works is \([^ ]*\).*/\1/p')
		test -n "$least" || fail "$name: one byte of memory is enough"
		"$exe" --quiet --output "$expected-memory$suffix" --threads $threads --memory "$least" ||
			fail "$name: $threads threads in $least"
		same "$expected-1$suffix" "$expected-memory$suffix" || fail "$name: $threads threads in $least give other bytes"
	done
}

# The printed plan is a program, and planning it prints it again; only that now nothing has to be moved.
check_plan() {
	local name=$1 plan=$2 expected=$3 suffix=$4
	"$CMPC" plan --emit=plan "$plan" | diff <(grep -v '^  # moved: ' "$plan") - || fail "$name: the plan, planned again, is another"
	"$CMPC" run "$plan" --quiet --output "$expected-plan$suffix" || fail "$name: the printed plan does not run"
	same_result "$expected-1$suffix" "$expected-plan$suffix" || fail "$name: the printed plan gives other bytes"
}

check_example() {
	local file=$1 name out result suffix planned
	name=$(basename "$file" .cmp)
	suffix=$(sed -n 's/^ *save "[^"]*\(\.[a-z]*\)".*/\1/p' "$file" | head -n 1)
	out=$work/$name
	result=$work/result-$name
	"$CMPC" check "$file" || fail "$name: check"
	"$CMPC" plan --emit=plan "$file" >"$out.plan.cmp" || fail "$name: plan"
	"$CMPC" build "$file" -o "$out.exe" || { fail "$name: build"; return; }
	"$out.exe" --quiet --output "$result-1$suffix" --threads 1 || { fail "$name: run"; return; }
	planned=$(sed -n 's/^# output: \([0-9]*\) bytes.*/\1/p' "$out.plan.cmp")
	test -z "$planned" || test "$planned" = "$(size_of "$result-1$suffix")" ||
		fail "$name: the plan says $planned bytes, the result has $(size_of "$result-1$suffix")"
	for threads in 2 3 7; do
		"$out.exe" --quiet --output "$result-$threads$suffix" --threads $threads || fail "$name: $threads threads"
		same "$result-1$suffix" "$result-$threads$suffix" || fail "$name: $threads threads give other bytes"
	done
	"$CMPC" run "$file" --quiet --output "$result-run$suffix" || fail "$name: cmpc run"
	same "$result-1$suffix" "$result-run$suffix" || fail "$name: cmpc run gives other bytes"
	check_memory "$name" "$out.exe" "$result" "$suffix"
	check_plan "$name" "$out.plan.cmp" "$result" "$suffix"
	"$out.exe" --dry-run >/dev/null || fail "$name: dry run"
}

count=0
while read -r file; do
	grep -q '^pipeline' "$file" && ! grep -q '^#! ' "$file" || continue # with #! lines it is a test by itself
	check_example "$file"
	count=$((count + 1))
done < <(find "$examples" -name '*.cmp' | sort)
echo "$count examples"
test $count -gt 0 && test $failed -eq 0
