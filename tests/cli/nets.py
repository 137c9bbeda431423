#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stdlib's nets and `cmpc eval` against NumPy in f64: logits, losses, perplexity of samples of several lengths,
the same bytes for any threads, and what is said of files of tokens that are none.

The checkpoint of examples/tiny-llama is bf16 with grouped queries and a head of its own; variants of its config
and of its tensors try the rest. Where ../shared is there, stories260K too, whose logits another program made.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import tempfile

import numpy

from testing import CMPC, SHARED, TOP, check, cmpc, finish
import llama

TOLERANCE = 1e-4


def write_program(folder, model, data="tokens.npy", properties=""):
    path = os.path.join(folder, "eval.cmp")
    with open(path, "w") as file:
        file.write(f'model m from "{model}"\ndata d from "{data}" {properties}\n')
    return path


def write_rows(folder, rows):
    table = -numpy.ones((len(rows), max(map(len, rows))), numpy.int32)
    for row, tokens in zip(table, rows):
        row[: len(tokens)] = tokens
    numpy.save(os.path.join(folder, "tokens.npy"), table)


def array_of(folder, program, name, *options):
    out = os.path.join(folder, "array.npy")
    status, _, errors = cmpc("eval", program, "--array", name, "-o", out, *options)
    check(status == 0, f"{name}: {errors}")
    return numpy.load(out)


def perplexity_of(program, *options):
    status, text, errors = cmpc("eval", program, *options)
    found = re.match(r"perplexity\(d\) = ([0-9.]+) \+- ([0-9.]+)  \(([0-9]+) tokens of ([0-9]+) samples\)\n$", text)
    check(status == 0 and found, f"perplexity: {text}{errors}")
    return [float(number) for number in found.groups()] if found else [0, 0, 0, 0]


def write_model(folder, tensors, config):
    """f32, in one file"""
    header, place = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [place, place + 4 * values.size]}
        place += 4 * values.size
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(values.astype("<f4").tobytes())
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file)


def compare(folder, model, rows, what):
    """Logits, and mean and standard error of the loss."""
    tensors, config = llama.read_checkpoint(model)
    program = write_program(folder, model)
    write_rows(folder, rows)
    wanted = [llama.forward(tensors, config, row) for row in rows]
    found = array_of(folder, program, "logits")
    check(found.shape == (sum(map(len, rows)), wanted[0].shape[1]), f"{what}: shape {found.shape}")
    off = abs(found - numpy.concatenate(wanted)).max()
    check(off < TOLERANCE, f"{what}: logits off by {off}")
    loss = numpy.concatenate([llama.losses(w, row) for w, row in zip(wanted, rows)])
    mean, error, count, samples = perplexity_of(program)
    check(abs(mean / numpy.exp(loss.mean()) - 1) < 2e-5, f"{what}: perplexity {mean}, not {numpy.exp(loss.mean())}")
    deviation = numpy.exp(loss.mean()) * loss.std(ddof=1) / numpy.sqrt(len(loss))
    check(abs(error / deviation - 1) < 1e-3, f"{what}: standard error {error}, not {deviation}")
    check((count, samples) == (len(loss), len(rows)), f"{what}: {count} tokens of {samples} samples")
    return program


def write_gguf(path, tensors, config):
    """f16 matrices and f32 vectors under GGUF's names; rows of queries and keys as its readers turn pairs."""
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight"}
    parts = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    settings = {"embedding_length": "hidden_size", "block_count": "num_hidden_layers", "feed_forward_length":
        "intermediate_size", "attention.head_count": "num_attention_heads", "attention.head_count_kv":
        "num_key_value_heads", "attention.key_length": "head_dim", "attention.layer_norm_rms_epsilon": "rms_norm_eps",
        "rope.freq_base": "rope_theta"}

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    for key, name in settings.items():
        is_real = isinstance(config[name], float)
        pairs.append(text("llama." + key) + struct.pack("<If" if is_real else "<II", 6 if is_real else 4, config[name]))
    heads, data = b"", b""
    for name, values in tensors.items():
        layer = re.fullmatch(r"model\.layers\.(\d+)\.(.*)\.weight", name)
        if re.search(r"[qk]_proj", name):
            values = values.reshape(-1, 2, config["head_dim"] // 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        own = f"blk.{layer[1]}.{parts[layer[2]]}.weight" if layer else names[name]
        shape = values.shape[::-1]
        heads += text(own) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, len(shape) == 2, len(data))
        data += values.astype("<f2" if len(shape) == 2 else "<f4").tobytes()
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + heads
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32) + data)


def q8_0(values):
    """What a reader sees of blocks of 32 with one f16 scale."""
    x = values.astype(numpy.float32).reshape(-1, 32)
    scale = abs(x).max(-1, keepdims=True) / numpy.float32(127)
    inverse = numpy.where(scale > 0, 1 / numpy.where(scale > 0, scale, 1), 0).astype(numpy.float32)
    codes = numpy.trunc(x * inverse + numpy.copysign(numpy.float32(0.5), x))
    return (codes * scale.astype(numpy.float16).astype(numpy.float32)).astype(numpy.float64).reshape(values.shape)


def check_gguf(folder, model, generator):
    tensors, config = llama.read_checkpoint(model)
    rounded = {n: v.astype(numpy.float16).astype(numpy.float64) if v.ndim == 2 else v for n, v in tensors.items()}
    write_gguf(os.path.join(folder, "model.gguf"), tensors, config)
    tokens = generator.integers(0, 512, 50)
    write_rows(folder, [tokens])
    found = array_of(folder, write_program(folder, "model.gguf"), "logits")
    off = abs(found - llama.forward(rounded, config, tokens)).max()
    check(off < TOLERANCE, f"gguf: logits off by {off}")
    coded = os.path.join(folder, "coded.gguf")
    check(cmpc("quantize", os.path.join(folder, "model.gguf"), "q8_0", "-o", coded, "--quiet")[0] == 0, "gguf: q8_0")
    found = array_of(folder, write_program(folder, "coded.gguf"), "logits")
    blocks = {n: q8_0(v) if v.ndim == 2 else v for n, v in rounded.items()}
    off = abs(found - llama.forward(blocks, config, tokens)).max()
    check(off < TOLERANCE, f"gguf in blocks: logits off by {off}")


def check_variants(folder, model, generator):
    """Other settings of the same architecture, on smaller random weights."""
    tensors, config = llama.read_checkpoint(model)
    variants = [
        ("linear scaling", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
        ("llama3 scaling", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64}, "rope_theta": 500000.0}),
        ("window", {"sliding_window": 7, "model_type": "mistral"}),
        ("tied", {"tie_word_embeddings": True}),
        ("bias", {"attention_bias": True}),
    ]
    for what, changes in variants:
        own = dict(tensors)
        if what == "tied":
            del own["lm_head.weight"]
        for layer in range(config["num_hidden_layers"] if what == "bias" else 0):
            for part in "qkv":
                name = f"model.layers.{layer}.self_attn.{part}_proj"
                own[name + ".bias"] = generator.normal(size=own[name + ".weight"].shape[0]).astype(numpy.float32)
        write_model(folder, own, {**config, **changes})
        compare(folder, folder, [generator.integers(0, 512, 40)], what)


def check_memory(program):
    """A limit that is too small is refused with one that will do, and that one is kept to."""
    status, _, errors = cmpc("eval", program, "--memory", "1MiB")
    found = re.search(r"([0-9]+)MiB", errors)
    check(status == 1 and found, f"too little memory: {errors}")
    process = subprocess.Popen([CMPC, "eval", program, "--memory", f"{found[1]}MiB"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    check(status == 0, f"{found[1]} MiB do not do")
    with open(shutil.which(CMPC), "rb") as file:
        is_sanitized = b"__asan_init" in file.read()  # which keeps a shadow of the memory beside it
    check(is_sanitized or usage.ru_maxrss <= int(found[1]) << 10, f"{usage.ru_maxrss} KiB of {found[1]} MiB")


def check_nonfinite(folder, model, generator):
    tensors, config = llama.read_checkpoint(model)
    tensors["model.layers.1.mlp.up_proj.weight"][5, 7] = numpy.nan
    write_model(folder, tensors, config)
    program = write_program(folder, folder)
    write_rows(folder, [generator.integers(0, 512, 9), generator.integers(0, 512, 5)])
    status, text, errors = cmpc("eval", program)
    where = 'tensor "model.layers.1.mlp.up_proj.weight": element [5, 7] is NaN or infinite'
    check(status == 1 and not text and where in errors, f"NaN: {errors}")
    status, text, _ = cmpc("eval", program, "--nonfinite=keep")
    check(status == 0 and "nan" in text, f"NaN kept: {text}")
    status, text, errors = cmpc("eval", program, "--nonfinite=zero")
    tensors["model.layers.1.mlp.up_proj.weight"][5, 7] = 0
    write_model(folder, tensors, config)
    check(status == 0 and text == cmpc("eval", program)[1], f"NaN as 0: {text}{errors}")
    tensors, config = llama.read_checkpoint(model)
    tensors["model.embed_tokens.weight"][511, 200] = numpy.inf
    write_model(folder, tensors, config)
    write_rows(folder, [[1, 2, 3], [*generator.integers(0, 500, 8), 511]])
    status, text, errors = cmpc("eval", program)
    where = 'tensor "model.embed_tokens.weight": element [511, 200] is NaN or infinite'
    check(status == 1 and not text and where in errors, f"infinite: {errors}")
    done = subprocess.run([CMPC, "repl"], input=f'model m from "{folder}"\ntry quantize.rtn(dtype: q8_0) on "model.embed_tokens.weight"\n',
        capture_output=True, text=True, timeout=300)
    check("element [511, 200] is NaN or infinite" in done.stderr, f"a late one: {done.stderr}")


def check_files(folder, model, generator):
    """Files of tokens: bare ones, windows, and those that are refused."""
    tokens = generator.integers(0, 512, 100).astype(numpy.int32)
    tokens.tofile(os.path.join(folder, "tokens.i32"))
    tokens.astype("<u2").tofile(os.path.join(folder, "tokens.u16"))
    numpy.save(os.path.join(folder, "line.npy"), tokens.astype(numpy.int64))
    results = [perplexity_of(write_program(folder, model, data, "{ window 30 }"))
               for data in ("tokens.i32", "tokens.u16", "line.npy")]
    check(results[0] == results[1] == results[2] and results[0][2:] == [96, 4], f"windows: {results}")
    two = perplexity_of(write_program(folder, model, "tokens.i32", "{ window 30  samples 2 }"))
    check(two[2:] == [58, 2], f"two samples: {two}")
    numpy.save(os.path.join(folder, "real.npy"), numpy.ones(5, numpy.float32))
    numpy.save(os.path.join(folder, "one.npy"), numpy.ones((3, 1), numpy.int32))
    numpy.save(os.path.join(folder, "large.npy"), numpy.full(5, 512, numpy.int32))
    for name, header in [("hollow", "{'descr': '<i4', 'fortran_order': False, 'shape': (1000000000000000000, 0), }"),
            ("cut", "{'fortran_order': False, 'shape': (4,), 'descr': '<i")]:
        with open(os.path.join(folder, f"{name}.npy"), "wb") as file:
            file.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + bytes(16))
    with open(os.path.join(folder, "short.npy"), "wb") as file:
        with open(os.path.join(folder, "line.npy"), "rb") as whole:
            file.write(whole.read()[:-8])
    for data, message in [
        ("real.npy", "is no NumPy array of whole numbers"),
        ("one.npy", "no sample has two tokens"),
        ("hollow.npy", "no sample has two tokens"),
        ("cut.npy", "is no NumPy array of whole numbers"),
        ("short.npy", "longer than the file"),
        ("none.npy", "No such file"),
        ("large.npy", "token 512, number 0, is not in the model's vocabulary of 512"),
        ("eval.cmp", "data are text, .txt, pairs of texts, .tsv, or tokens"),
    ]:
        status, text, errors = cmpc("eval", write_program(folder, model, data))
        check(status == 1 and message in errors and not text, f"{data}: {status} {errors}")


def main():
    generator = numpy.random.default_rng(3)
    model = os.path.join(TOP, "examples", "tiny-llama")
    with tempfile.TemporaryDirectory() as folder:
        rows = [generator.integers(0, 512, count) for count in (70, 2, 300, 33)]
        program = compare(folder, model, rows, "tiny-llama")
        one = array_of(folder, program, "logits", "--threads", "1").tobytes()
        for threads in ("2", "7"):
            check(array_of(folder, program, "logits", "--threads", threads).tobytes() == one, f"{threads} threads")
        check_memory(program)
        check_gguf(folder, model, generator)
        check_variants(folder, model, generator)
        check_nonfinite(folder, model, generator)
        check_files(folder, model, generator)
        golden = os.path.join(SHARED, "golden", "nets", "stories260K")
        stories = os.path.join(SHARED, "models", "stories260K")
        if os.path.isdir(golden):
            program = write_program(folder, stories, os.path.join(golden, "ids.i32"))
            wanted = numpy.fromfile(os.path.join(golden, "logits.f32"), "<f4").reshape(-1, 512)
            off = abs(array_of(folder, program, "logits") - wanted).max()
            check(off < TOLERANCE, f"stories260K: logits off by {off}")
            with open(os.path.join(golden, "tales.json")) as file:
                tales = json.load(file)
            write_rows(folder, [document["tokens"] for document in tales["documents"]])
            mean, _, count, samples = perplexity_of(write_program(folder, stories))
            check(abs(mean - tales["perplexity"]) < 2e-5, f"stories260K: perplexity {mean}, not {tales['perplexity']}")
            check((count, samples) == (tales["predicted_tokens"], 32), f"stories260K: {count} tokens of {samples}")
    finish("nets")


main()
