#!/bin/bash
# SPDX-License-Identifier: MIT
# The code of four examples for a CPU with AVX2, whatever this one is, before LLVM optimizes it and after, by LLVM's
# FileCheck: EXAMPLE.ll and EXAMPLE.s say what must be there, in order, and the lines below what must not.
set -u -o pipefail
cd "$(dirname "$0")" || exit 2
FILECHECK=${FILECHECK:-$(command -v FileCheck-19)}
if test -z "$FILECHECK"; then
	echo "skipped: no FileCheck: apt-get install llvm-19-tools"
	exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
ln -s "$PWD/../../examples/tiny-llama" "$work"

# place NAME: a copy of an example that knows the target, as a.cmp in a folder beside the model
place() {
	mkdir "$work/$1"
	cat "../../examples/$1/$1.cmp" v3.inc >"$work/$1/a.cmp"
}

# check FILE FUNCTIONS CMPC-OPTIONS [-- NOT...]: what `cmpc plan --emit` prints for the example of that name, of it the
# functions whose names match, is as FILE says and has none of the patterns anywhere else
check() {
	local file=$1 functions=$2 stage begin end nots=() options=()
	shift 2
	while test $# -gt 0 && test "$1" != --; do options+=("$1"); shift; done
	while shift && test $# -gt 0; do nots+=("--implicit-check-not=$1"); done
	case $file in
	*.ll) stage=llvm begin="^define .*@$functions(" end='^}' ;;
	*.s) stage=asm begin="^$functions:" end='^\.Lfunc_end' ;;
	esac
	(cd "$work/${file%.*}" && "$CMPC" plan a.cmp --target v3 --emit=$stage "${options[@]}") |
		sed -n "/$begin/,/$end/p" >"$work/code"
	"$FILECHECK" "${nots[@]}" --input-file="$work/code" "$file" && return
	echo "FAIL: $file"
	failed=1
}

place stranger
place gptq_from_h
place para
place global_magnitude
"$PYTHON" ../../examples/gptq_from_h/calibrate.py "$work/gptq_from_h/calibration.safetensors" "$work/tiny-llama" 16 >"$work/log" || failed=1
"$PYTHON" ../../examples/para/make_adapter.py "$work/para/adapter.safetensors" >"$work/log" || failed=1

# An addition after a multiplication rounds twice, and a sum is in the order that the language says.
loose='{{fast|contract|reassoc|llvm.fma|fmuladd}}'
one_loop='{{^}}row'
check stranger.ll kernel_0 -- "$loose" "$one_loop" '@cmprt_' '<16 x float>'
check stranger.s kernel_0 -- 'vfm' 'vfnm' zmm call
check global_magnitude.ll kernel_0 -- "$loose" "$one_loop" '@cmprt_' masked
check global_magnitude.s kernel_0 -- zmm call
check gptq_from_h.ll 'kernel_3[.a-z0-9]*' -p gguf -- "$loose" '@cmprt_'
check gptq_from_h.s 'kernel_3[.a-z0-9]*' -p gguf -- 'vfm' 'vfnm' zmm
check para.ll 'kernel_[078]' -- "$loose" '@cmprt_qr' '@cmprt_svd' '@cmprt_gemm' '@cmprt_order'
exit $failed
