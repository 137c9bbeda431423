#!/bin/bash
# SPDX-License-Identifier: MIT
# Executables killed at every part of their run lose nothing: one that writes a GGUF file, one that writes a folder of
# three safetensors files, one that runs a network for its passes.
#
# tests/interrupt.sh [KILLS [SIZE]]: without arguments a few kills on a small checkpoint, where only what must never
# happen is an error; with them also how many kills came before the end and how many of the runs after them read less.
set -u
tests=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}/tests
python=${PYTHON:-python3}
"$python" -c 'import numpy' 2>/dev/null || { echo "SKIP: no NumPy"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kills=${1:-8} size=${2:-24MiB} inside=80 fewer=60
test $# -gt 0 || inside=0 fewer=0
failed=0

check() { # NAME SUFFIX: the pipeline in $work/NAME.cmp
	mkdir "$work/out-$1"
	"${CMPC:-cmpc}" build "$work/$1.cmp" -o "$work/$1.exe" || { failed=1; return; }
	echo "== $1"
	"$python" "$tests/kill.py" --output "$work/out-$1/result$2" --kills "$kills" --inside $inside --fewer $fewer \
		--scratch "$work" -- "$work/$1.exe" --output "$work/out-$1/result$2" --threads 1 --no-sync --force || failed=1
}

"$python" "$tests/data/make_checkpoint.py" --format gguf --dtype f16 --size "$size" "$work/in.gguf" >/dev/null
"$python" "$tests/data/make_checkpoint.py" --format safetensors --dtype bf16 --size "$size" --shards 3 "$work/in" >/dev/null
cat >"$work/file.cmp" <<END
model m from "$work/in.gguf"
pipeline file of m { quantize.rtn(dtype: iq4_nl) on rest  save "file.gguf" }
END
cat >"$work/folder.cmp" <<END
model m from "$work/in"
pipeline folder of m {
  quantize.rtn(dtype: nvfp4) on attn_q, attn_k, attn_v, attn_output
  quantize.rtn(dtype: iq4_nl) on rest
  save "folder"
}
END
cat >"$work/network.cmp" <<END
model m from "$tests/../examples/tiny-llama"
data d from "$work/network.npy"
pipeline network of m {
  prune.wanda(sparsity: 50%, data: d) on linear
  quantize.rtn(dtype: q8_0) on rest
  save "network"
}
END
"$python" -c "import numpy
numpy.save('$work/network.npy', numpy.random.default_rng(1).integers(0, 512, (8, 64)).astype(numpy.int32))"
check file .gguf
check folder ""
check network ""
exit $failed
