#!/bin/bash
# SPDX-License-Identifier: MIT
# `make install DESTDIR=...`: the installed copy, moved, works from another folder with the library and the runtimes that
# came with it, and `make uninstall` leaves no file.
set -u
failed=0 machine=$(uname -m)
T=$(mktemp -d) || exit 2
trap 'rm -rf "$T"' EXIT
unset CMPC_STDLIB CMPC_RUNTIME MAKEFLAGS MFLAGS MAKELEVEL

fail() { echo "FAIL: $*"; failed=1; }

in_build() {
	make -C "$TOP_BUILDDIR" "$@" DESTDIR="$T/stage" >"$T/make.log" 2>&1 || { fail "make $*"; tail -5 "$T/make.log"; }
}

in_build install
mv "$T/stage" "$T/elsewhere"
cmpc=$(find "$T/elsewhere" -type f -name cmpc -perm -u+x)
library=$(find "$T/elsewhere" -type d -name stdlib)
runtime=$(find "$T/elsewhere" -path "*/$machine-linux-gnu/libcmprt.a")
test -x "$cmpc" && test -d "$library" && test -f "$runtime" || { fail "not all is there"; find "$T/elsewhere"; exit 1; }
mkdir "$T/work"
cd "$T/work" || exit 2
cp -r "$TOP_SRCDIR/examples/tiny-llama" "$TOP_SRCDIR/examples/demo.cmp" .

"$cmpc" build demo.cmp -o demo || fail "build"
./demo --quiet --output built.gguf || fail "the executable"
"$cmpc" run demo.cmp --quiet --output run.gguf || fail "run"
cmp built.gguf run.gguf || fail "build and run differ"

# the library and the runtime are those of this copy
echo 'let only_of_this_copy = 3' >"$library/only_of_this_copy.cmp"
echo 'let next = only_of_this_copy + 1' >uses.cmp
"$cmpc" check uses.cmp || fail "another library is read"
rm "$library/only_of_this_copy.cmp"
mv "$runtime" "$T/runtime"
"$cmpc" build demo.cmp -o none 2>error && fail "another runtime is linked"
grep -q "there is no runtime for $machine-linux-gnu in " error || fail "without a runtime: $(cat error)"
mv "$T/runtime" "$runtime"

mv "$T/elsewhere" "$T/stage"
in_build uninstall
left=$(find "$T/stage" ! -type d)
test -z "$left" || fail "uninstall leaves $left"
exit $failed
