#!/bin/bash
# SPDX-License-Identifier: MIT
# The table of commands and options, --help, the manual page, and what wrong command lines are answered with.
set -u
failed=0
T=$(mktemp -d) || exit 2
trap 'rm -rf "$T"' EXIT
cmpc=$CMPC

fail() { echo "FAIL: $*"; failed=1; }

expect() { # STATUS, TEXT on stderr, ARGS...
	local status=$1 text=$2
	shift 2
	"$cmpc" "$@" >"$T/out" 2>"$T/err" </dev/null
	local got=$?
	test $got -eq "$status" || fail "cmpc $*: exit $got, expected $status: $(head -1 "$T/err")"
	grep -qF -- "$text" "$T/err" || fail "cmpc $*: expected '$text', got '$(cat "$T/err")'"
	test "$(wc -l <"$T/err")" -le 2 || fail "cmpc $*: more than a line and its help: $(cat "$T/err")"
}

# every command of --help has help of its own, and stands in the manual
man="$TOP_SRCDIR/doc/cmpc.1"
sed 's/\\-/-/g; s/\\f[BIR]//g' "$man" >"$T/man"
"$cmpc" --help >"$T/help" || fail "cmpc --help: exit $?"
commands=$(sed -n '/^Options/q; s/^  cmpc \([a-z]*\) .*/\1/p; s/^  \([a-z]*\)  *[[A-Z].*/\1/p' "$T/help" | sort -u)
test "$(wc -w <<<"$commands")" -ge 11 || fail "--help lists only: $commands"
for command in $commands; do
	"$cmpc" $command --help >"$T/out" 2>&1 || fail "cmpc $command --help: exit $?"
	grep -q "^usage: cmpc $command" "$T/out" || fail "cmpc $command --help does not name it"
	grep -q "^  cmpc $command" "$T/out" || fail "cmpc $command --help has no example"
	grep -q "^cmpc $command " "$T/man" || fail "the manual's synopsis lacks $command"
done
"$cmpc" >"$T/out" || fail "cmpc: exit $?"
cmp -s "$T/out" "$T/help" || fail "cmpc alone prints something else than --help"
test "$(awk '{ if (length > n) n = length } END { print n + 0 }' "$T/help")" -le 120 || fail "--help has long lines"

# every option of --help stands in the manual, and every option of cmpc in the manual stands in --help
sed -n '/^Options/,$p' "$T/help" | grep -oE '^  (-[a-zA-Z]|--[a-z-]+)(, --[a-z-]+)?' | tr -d ' ' | tr , '\n' >"$T/options"
for option in $(cat "$T/options"); do
	grep -qE -- "(^|[ ,])$option([ =,]|\$)" "$T/man" || fail "the manual lacks $option"
done
for option in $(sed -n '/^.SH OPTIONS/,/^.SH EXEC/p' "$T/man" | grep -E '^\.B' | grep -oE -- '(^| )-[-a-zA-Z]+'); do
	grep -qxF -- "$option" "$T/options" || fail "--help lacks $option"
done

# help in other words; names that begin with a word
"$cmpc" help plan >"$T/out" && "$cmpc" plan --help | cmp -s - "$T/out" || fail "cmpc help plan is not cmpc plan --help"
"$cmpc" help | cmp -s - "$T/help" || fail "cmpc help is not cmpc --help"
"$cmpc" doc prune >"$T/out" && grep -q '^pass prune.nm ' "$T/out" && grep -q '^pass prune.magnitude ' "$T/out" ||
	fail "cmpc doc prune does not list prune.nm"

test "$("$cmpc" --version)" = "$("$cmpc" inspect --version)" || fail "--version differs after a command"

# wrong command lines: status 2, one line
expect 2 'no command "plann"; did you mean plan?' plann x
expect 2 'no option "--hlep"; did you mean --help?' --hlep
expect 2 'no stage "asmm"; did you mean asm?' --emit=asmm x.cmp
expect 2 'fmt takes no option "--emit"' fmt --emit=ast x.cmp
expect 2 'fmt takes no option "--emit"' --emit=ast fmt x.cmp
expect 2 'inspect needs CHECKPOINT' inspect
expect 2 'plan does not know what to do with "b"' a.cmp b
expect 2 'no value for "-o"' build x.cmp -o
expect 2 'quantize needs -o' quantize x q8_0
expect 2 'decode needs -o OUT.safetensors' decode x
expect 2 '"out.gguf" does not end in .safetensors' decode x -o out.gguf
# what is not there: status 1 (diff: 2)
expect 1 'cannot read "none.cmp": there is no such file' none.cmp
expect 1 'none: could not open' inspect none
expect 1 'did you mean q8_0?' doc q8_9
expect 1 'did you mean q4_K?' doc q4k
expect 1 'did you mean f8_e4m3?' doc f8
expect 1 'did you mean q4_K_M?' quantize none q4_KM -o x.gguf
expect 2 'none: could not open' diff none none
exit $failed
