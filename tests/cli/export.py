#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hugging Face folders into GGUF: names, rows in the order of readers, matrices turned, experts stacked, metadata key
by key with their types, tokenizers. What is written is read by the reader below, and compared with what NumPy makes of
the folder's tensors; the network of the result gives what that of the folder gives; the bytes are the same for any
threads, memory, fusion. What is said of folders that are no good.
"""

import json
import os
import shutil
import struct
import tempfile

import numpy

from testing import CMPC, EXAMPLES, TOP, bytes_of, call, check, cmpc, finish, read_safetensors, write_safetensors, write_text

FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
TINY = os.path.join(EXAMPLES, "tiny-llama")


# ---- GGUF, as its specification has it ----


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, letter):
        (value,) = struct.unpack_from("<" + letter, self.data, self.at)
        self.at += struct.calcsize(letter)
        return value

    def value(self, kind):
        if kind == STRING:
            length = self.number("Q")
            self.at += length
            return self.data[self.at - length : self.at].decode()
        if kind == ARRAY:
            of = self.number("I")
            return of, [self.value(of) for _ in range(self.number("Q"))]
        return self.number(FORMATS[kind])


def read_gguf(path):
    """{key: (type, value)}, {name: (type, shape, bytes)}"""
    reader = Reader(bytes_of(path))
    check(reader.data[:8] == b"GGUF\3\0\0\0", f"{path}: no GGUF")
    reader.at = 8
    tensor_count, key_count = reader.number("Q"), reader.number("Q")
    keys, heads = {}, []
    for _ in range(key_count):
        key = reader.value(STRING)
        kind = reader.number("I")
        keys[key] = (kind, reader.value(kind))
    for _ in range(tensor_count):
        name = reader.value(STRING)
        shape = [reader.number("Q") for _ in range(reader.number("I"))][::-1]
        heads.append((name, shape, reader.number("I"), reader.number("Q")))
    base = -(-reader.at // 32) * 32
    ends = [offset for _, _, _, offset in heads[1:]] + [len(reader.data) - base]
    return keys, {name: (kind, shape, reader.data[base + offset : base + end]) for (name, shape, kind, offset), end in
                  zip(heads, ends)}


def check_keys(what, keys, wanted):
    """Those of cmpc's own aside"""
    found = {key: value for key, value in keys.items() if not key.startswith("cmpc.")}
    for key in sorted(found.keys() | wanted.keys()):
        check(found.get(key) == wanted.get(key), f"{what}: {key}: {str(found.get(key))[:200]}, wanted {str(wanted.get(key))[:200]}")


def check_tensors(what, tensors, wanted):
    """wanted: {name: array of f32, or (type, bytes)}"""
    check(tensors.keys() == wanted.keys(), f"{what}: {sorted(tensors.keys() ^ wanted.keys())}")
    for name, array in wanted.items():
        kind, shape, data = tensors.get(name, (None, [], b""))
        if isinstance(array, tuple):
            check((kind, data[: len(array[1])]) == array, f"{what}: {name}: type {kind}")
            continue
        size = 4 * array.size
        check((kind, shape) == (0, list(array.shape)), f"{what}: {name}: type {kind}, shape {shape}")
        check(data[:size] == array.astype("<f4").tobytes(), f"{what}: {name}: other bytes")


# ---- folders ----


def pair_rows(array, heads):
    """Halves of a head, as rotary positions turn them, to neighbours"""
    return array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def q8_0(array):
    """Blocks of 32: scale in f16, codes rounded away from zero"""
    blocks = array.reshape(-1, 32).astype(numpy.float32)
    scale = numpy.abs(blocks).max(1, keepdims=True) / numpy.float32(127)
    inverse = numpy.divide(numpy.float32(1), scale, out=numpy.zeros_like(scale), where=scale > 0)
    codes = blocks * inverse
    codes = (numpy.sign(codes) * numpy.floor(numpy.abs(codes) + numpy.float32(0.5))).astype(numpy.int8)
    return numpy.concatenate([scale.astype("<f2").view(numpy.uint8), codes.view(numpy.uint8)], 1).tobytes()


def write_model(folder, config, tensors, tokenizer=True):
    os.makedirs(folder)
    write_text(os.path.join(folder, "config.json"), json.dumps(config))
    write_safetensors(os.path.join(folder, "model.safetensors"),
                      {name: ("F32", array.shape, array.astype("<f4").tobytes()) for name, array in tensors.items()})
    if tokenizer:
        shutil.copy(os.path.join(TINY, "tokenizer.json"), folder)


def random_tensors(seed, shapes):
    random = numpy.random.default_rng(seed)
    return {name: random.standard_normal(shape).astype(numpy.float32) for name, shape in shapes.items()}


def convert(folder, statements="", out="out.gguf", wants=0):
    program = os.path.join(folder, "..", "convert.cmp")
    write_text(program, f'model m from "{folder}"\npipeline p of m {{ {statements} save "{out}" }}\n')
    path = os.path.join(folder, "..", out)
    if os.path.exists(path):
        os.remove(path)
    status, text, errors = cmpc("run", program, "-o", path)
    check(status == wants, f"{folder}: {status} {text}{errors}")
    check(wants == 0 or not os.path.exists(path), f"{folder}: something was written")
    return path, errors


# ---- llama, of the example ----


def tiny_keys(file_type):
    with open(os.path.join(TINY, "tokenizer.json"), encoding="utf-8") as file:
        tokenizer = json.load(file)
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    special = {row["content"] for row in tokenizer["added_tokens"]}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    numbers = {"block_count": 3, "context_length": 256, "embedding_length": 256, "feed_forward_length": 512,
               "attention.head_count": 8, "attention.head_count_kv": 2, "attention.key_length": 32,
               "attention.value_length": 32, "rope.dimension_count": 32, "vocab_size": 512}
    return {
        "general.architecture": (STRING, "llama"), "general.type": (STRING, "model"),
        "general.file_type": (U32, file_type), "general.quantization_version": (U32, 2),
        **{f"llama.{key}": (U32, value) for key, value in numbers.items()},
        "llama.attention.layer_norm_rms_epsilon": (F32, float(numpy.float32(1e-5))),
        "llama.rope.freq_base": (F32, 10000.0),
        "tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.pre": (STRING, "gpt-2"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, [text for text, _ in vocabulary])),
        "tokenizer.ggml.token_type": (ARRAY, (5, [3 if text in special else 1 for text, _ in vocabulary])),
        "tokenizer.ggml.merges": (ARRAY, (STRING, merges)),
        "tokenizer.ggml.bos_token_id": (U32, 0), "tokenizer.ggml.eos_token_id": (U32, 1),
        "tokenizer.ggml.add_bos_token": (BOOL, True), "tokenizer.ggml.add_eos_token": (BOOL, False),
    }


def of_bf16(row):
    _, shape, data = row
    return (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)


def tiny_tensors():
    rows = {name: of_bf16(row) for name, row in read_safetensors(os.path.join(TINY, "model.safetensors")).items()}
    out = {"token_embd.weight": rows["model.embed_tokens.weight"], "output_norm.weight": rows["model.norm.weight"],
           "output.weight": rows["lm_head.weight"]}
    names = {"attn_norm": "input_layernorm", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj"}
    for layer in range(3):
        old, new = f"model.layers.{layer}.", f"blk.{layer}."
        out.update({f"{new}{name}.weight": rows[f"{old}{source}.weight"] for name, source in names.items()})
        out[new + "attn_q.weight"] = pair_rows(rows[old + "self_attn.q_proj.weight"], 8)
        out[new + "attn_k.weight"] = pair_rows(rows[old + "self_attn.k_proj.weight"], 2)
    return out


def perplexity(folder, model):
    program = os.path.join(folder, "eval.cmp")
    write_text(program, f'model m from "{model}"\ndata d from "text.txt" {{ window 200 }}\n')
    return call(CMPC, "eval", program)


def test_llama(folder):
    wanted = tiny_tensors()
    out, _ = convert(os.path.join(folder, "tiny"), "cast(f32) on all")
    keys, tensors = read_gguf(out)
    check_keys("tiny-llama", keys, tiny_keys(0))
    check_tensors("tiny-llama", tensors, wanted)
    with open(os.path.join(TINY, "heldout.txt"), encoding="utf-8") as file:
        write_text(os.path.join(folder, "text.txt"), file.read(9000))
    ours, theirs = perplexity(folder, os.path.join(folder, "tiny")), perplexity(folder, out)
    check(ours == theirs, f"perplexity of the folder {ours}, of the GGUF {theirs}")
    out, _ = convert(os.path.join(folder, "tiny"), "quantize.rtn(q8_0) on linear, embedding, head")
    keys, tensors = read_gguf(out)
    check_keys("tiny-llama in q8_0", keys, tiny_keys(7))
    check_tensors("tiny-llama in q8_0", tensors, {
        name: array if array.ndim == 1 else (8, q8_0(array)) for name, array in wanted.items()})


# What is done to rows that lie elsewhere, however the work is cut.
def test_same_bytes(folder):
    program = os.path.join(folder, "same.cmp")
    write_text(program, f'model m from "{os.path.join(folder, "tiny")}"\npipeline p of m {{ prune.magnitude(50%) on linear '
               'quantize.rtn(q4_0) on linear  save "same.gguf" }\n')
    made, out = os.path.join(folder, "same"), os.path.join(folder, "same.gguf")
    call(CMPC, "build", program, "-o", made)
    call(made, "--output", out, "--threads", "1")
    wanted = bytes_of(out)
    for options in (["--threads", "3"], ["--no-fuse"], ["--threads", "2", "--memory", "48MiB"]):
        call(made, "--output", out, *options)
        check(bytes_of(out) == wanted, f"{options}: other bytes")


# ---- gpt2: matrices that lie the other way round ----


def test_gpt2(folder):
    shapes = {"wte.weight": (512, 64), "wpe.weight": (32, 64), "ln_f.weight": 64, "ln_f.bias": 64,
              "h.0.attn.bias": (1, 1, 32, 32)}
    matrices = {"attn.c_attn": ("attn_qkv", 64, 192), "attn.c_proj": ("attn_output", 64, 64),
                "mlp.c_fc": ("ffn_up", 64, 256), "mlp.c_proj": ("ffn_down", 256, 64)}
    for name, (_, rows, columns) in matrices.items():
        shapes |= {f"h.0.{name}.weight": (rows, columns), f"h.0.{name}.bias": columns}
    for norm in ("ln_1", "ln_2"):
        shapes |= {f"h.0.{norm}.weight": 64, f"h.0.{norm}.bias": 64}
    rows = random_tensors(1, shapes)
    source = os.path.join(folder, "gpt2")
    write_model(source, {"model_type": "gpt2", "n_layer": 1, "n_ctx": 32, "n_embd": 64, "n_head": 4,
                         "layer_norm_epsilon": 1e-5, "vocab_size": 512, "eos_token_id": 1}, rows)
    wanted = {"token_embd.weight": rows["wte.weight"], "position_embd.weight": rows["wpe.weight"],
              "output_norm.weight": rows["ln_f.weight"], "output_norm.bias": rows["ln_f.bias"]}
    for kind in ("weight", "bias"):
        wanted[f"blk.0.attn_norm.{kind}"] = rows[f"h.0.ln_1.{kind}"]
        wanted[f"blk.0.ffn_norm.{kind}"] = rows[f"h.0.ln_2.{kind}"]
    for name, (new, _, _) in matrices.items():
        wanted[f"blk.0.{new}.weight"] = rows[f"h.0.{name}.weight"].T.copy()
        wanted[f"blk.0.{new}.bias"] = rows[f"h.0.{name}.bias"]
    keys, tensors = read_gguf(convert(source)[0])
    check_tensors("gpt2", tensors, wanted)
    tokenizer = {key: value for key, value in tiny_keys(0).items() if key.startswith("tokenizer.")}
    check_keys("gpt2", keys, {
        **tokenizer, "general.architecture": (STRING, "gpt2"), "general.type": (STRING, "model"),
        "general.file_type": (U32, 0), "general.quantization_version": (U32, 2),
        "gpt2.block_count": (U32, 1), "gpt2.context_length": (U32, 32), "gpt2.embedding_length": (U32, 64),
        "gpt2.feed_forward_length": (U32, 256), "gpt2.attention.head_count": (U32, 4),
        "gpt2.attention.layer_norm_epsilon": (F32, float(numpy.float32(1e-5)))})
    coded = {name: (8, q8_0(array)) if name.endswith(("qkv.weight", "output.weight", "up.weight", "down.weight")) else array
             for name, array in wanted.items()}
    check_tensors("gpt2 in q8_0", read_gguf(convert(source, "quantize.rtn(q8_0) on linear")[0])[1], coded)


# ---- mixtral, biases, positions of Llama 3 ----


def llama_shapes(experts=0):
    shapes = {"model.embed_tokens.weight": (512, 64), "model.norm.weight": 64}
    old = "model.layers.0."
    shapes |= {f"{old}input_layernorm.weight": 64, f"{old}post_attention_layernorm.weight": 64}
    for name, size in (("q", 64), ("k", 32), ("v", 32), ("o", 64)):
        shapes |= {f"{old}self_attn.{name}_proj.weight": (size, 64)}
    if not experts:
        return shapes | {f"{old}mlp.gate_proj.weight": (96, 64), f"{old}mlp.up_proj.weight": (96, 64),
                         f"{old}mlp.down_proj.weight": (64, 96)}
    shapes[f"{old}block_sparse_moe.gate.weight"] = (experts, 64)
    for expert in range(experts):
        for name, shape in (("w1", (96, 64)), ("w2", (64, 96)), ("w3", (96, 64))):
            shapes[f"{old}block_sparse_moe.experts.{expert}.{name}.weight"] = shape
    return shapes


CONFIG = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
          "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 128,
          "rms_norm_eps": 1e-6, "rope_theta": 500000.0}


def test_experts(folder):
    rows = random_tensors(2, llama_shapes(experts=11))
    source = os.path.join(folder, "mixtral")
    write_model(source, CONFIG | {"model_type": "mixtral", "num_local_experts": 11, "num_experts_per_tok": 2}, rows)
    keys, tensors = read_gguf(convert(source, "quantize.rtn(q8_0) on expert")[0])
    for name, old in (("gate", "w1"), ("down", "w2"), ("up", "w3")):
        kind, shape, data = tensors[f"blk.0.ffn_{name}_exps.weight"]
        stack = numpy.stack([rows[f"model.layers.0.block_sparse_moe.experts.{i}.{old}.weight"] for i in range(11)])
        check((kind, shape) == (8, list(stack.shape)), f"experts: {name}: type {kind}, shape {shape}")
        check(data == q8_0(stack), f"experts: {name}: other bytes")
    check(tensors["blk.0.ffn_gate_inp.weight"][0] == 0, "experts: the router is not f32")
    check(keys["llama.expert_count"] == (U32, 11) and keys["llama.expert_used_count"] == (U32, 2), "experts: counts")
    _, errors = convert(source, 'quantize.rtn(q8_0) on "*experts.3.w2*"', wants=1)
    check('"model.layers.0.block_sparse_moe.experts.3.w2.weight" becomes q8_0, but others that' in errors, errors)
    del rows["model.layers.0.block_sparse_moe.experts.4.w3.weight"]
    write_model(source + "-less", CONFIG | {"model_type": "mixtral"}, rows)
    _, errors = convert(source + "-less", wants=1)
    check('is of 11 tensors that become "blk.0.ffn_up_exps.weight", but 10 are there' in errors, errors)


def moe_shapes():
    shapes = {name: shape for name, shape in llama_shapes().items() if ".mlp." not in name}
    mlp = "model.layers.0.mlp."
    shapes |= {f"model.layers.0.self_attn.{name}_proj.bias": size for name, size in (("q", 64), ("k", 32), ("v", 32))}
    shapes |= {"lm_head.weight": (512, 64), f"{mlp}gate.weight": (4, 64), f"{mlp}shared_expert_gate.weight": (1, 64)}
    for at, size in [(f"experts.{expert}", 32) for expert in range(4)] + [("shared_expert", 96)]:
        shapes |= {f"{mlp}{at}.gate_proj.weight": (size, 64), f"{mlp}{at}.up_proj.weight": (size, 64),
                   f"{mlp}{at}.down_proj.weight": (64, size)}
    return shapes


MOE = {"model_type": "qwen2_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
       "shared_expert_intermediate_size": 96}


def test_shared_expert(folder):
    rows = random_tensors(7, moe_shapes())
    source = os.path.join(folder, "qwen2moe")
    write_model(source, {**CONFIG, **MOE}, rows)
    old, new = "model.layers.0.", "blk.0."
    wanted = {"token_embd.weight": rows["model.embed_tokens.weight"], "output_norm.weight": rows["model.norm.weight"],
              "output.weight": rows["lm_head.weight"], new + "attn_norm.weight": rows[old + "input_layernorm.weight"],
              new + "ffn_norm.weight": rows[old + "post_attention_layernorm.weight"],
              new + "ffn_gate_inp.weight": rows[old + "mlp.gate.weight"],
              new + "ffn_gate_inp_shexp.weight": rows[old + "mlp.shared_expert_gate.weight"][0]}
    for name, theirs in (("q", "attn_q"), ("k", "attn_k"), ("v", "attn_v")):
        wanted |= {f"{new}{theirs}.{kind}": rows[f"{old}self_attn.{name}_proj.{kind}"] for kind in ("weight", "bias")}
    wanted[new + "attn_output.weight"] = rows[old + "self_attn.o_proj.weight"]
    for name in ("gate", "up", "down"):
        wanted[f"{new}ffn_{name}_shexp.weight"] = rows[f"{old}mlp.shared_expert.{name}_proj.weight"]
        wanted[f"{new}ffn_{name}_exps.weight"] = numpy.stack(
            [rows[f"{old}mlp.experts.{i}.{name}_proj.weight"] for i in range(4)])
    out, _ = convert(source)
    keys, tensors = read_gguf(out)
    check_tensors("qwen2_moe", tensors, wanted)
    counts = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32,
              "expert_shared_feed_forward_length": 96, "feed_forward_length": 96, "attention.head_count_kv": 2}
    for key, value in counts.items():
        check(keys.get("qwen2moe." + key) == (U32, value), f"qwen2_moe: {key}: {keys.get('qwen2moe.' + key)}")
    write_text(os.path.join(folder, "text.txt"), "In the beginning God created the heaven and the earth.\n" * 20)
    ours, theirs = perplexity(folder, source), perplexity(folder, out)
    check(ours == theirs, f"perplexity of qwen2_moe {ours}, of the GGUF {theirs}")


# ---- bert: an encoder, words ----


def words_tokenizer(lowercase=True):
    texts = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "light", "##s", "##ing", "heaven", ",", "##"]
    added = [{"id": i, "content": texts[i], "special": True, "normalized": False, "single_word": False, "lstrip": False,
              "rstrip": False} for i in range(5)]
    single = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
              {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]
    special = {text: {"id": text, "ids": [texts.index(text)], "tokens": [text]} for text in ("[CLS]", "[SEP]")}
    return {"version": "1.0", "added_tokens": added,
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": lowercase},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": {text: i for i, text in enumerate(texts)}}}, texts


# Of the tensors {old: new}; those that are not written have no new name.
def bert_names():
    names = {"embeddings.word_embeddings.weight": "token_embd.weight",
             "embeddings.position_embeddings.weight": "position_embd.weight",
             "embeddings.token_type_embeddings.weight": "token_types.weight", "pooler.dense.weight": None}
    parts = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
             "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
             "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
    for kind in ("weight", "bias"):
        names[f"embeddings.LayerNorm.{kind}"] = f"token_embd_norm.{kind}"
        names |= {f"encoder.layer.0.{old}.{kind}": f"blk.0.{new}.{kind}" for old, new in parts.items()}
    return {"bert." + old: new for old, new in names.items()}


def bert_shape(name):
    if name.endswith("_embeddings.weight"):
        return {"word": 16, "position": 32, "token_type": 2}[name.split(".")[-2].removesuffix("_embeddings")], 64
    rows, columns = (128, 64) if "intermediate" in name else (64, 128) if ".output.dense" in name and "attention" not in name else (64, 64)
    return rows if name.endswith("bias") or "LayerNorm" in name else (rows, columns)


def test_bert(folder):
    names = bert_names()
    rows = random_tensors(8, {name: bert_shape(name) for name in names})
    source = os.path.join(folder, "bert")
    write_model(source, {"model_type": "bert", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
                         "num_attention_heads": 4, "vocab_size": 16, "max_position_embeddings": 32, "type_vocab_size": 2,
                         "layer_norm_eps": 1e-12, "pad_token_id": 0}, rows)
    tokenizer, texts = words_tokenizer()
    path = os.path.join(source, "tokenizer.json")
    write_text(path, json.dumps(tokenizer))
    out, _ = convert(source)
    keys, tensors = read_gguf(out)
    check_tensors("bert", tensors, {names[old]: array for old, array in rows.items() if names[old]})
    numbers = {"block_count": 1, "context_length": 32, "embedding_length": 64, "feed_forward_length": 128,
               "attention.head_count": 4}
    pieces = texts[:5] + ["\u2581a", "\u2581light", "s", "ing", "\u2581heaven", "\u2581,", ""]
    check_keys("bert", keys, {
        "general.architecture": (STRING, "bert"), "general.type": (STRING, "model"),
        "general.file_type": (U32, 0), "general.quantization_version": (U32, 2),
        **{f"bert.{key}": (U32, value) for key, value in numbers.items()},
        "bert.attention.layer_norm_epsilon": (F32, float(numpy.float32(1e-12))), "bert.attention.causal": (BOOL, False),
        "tokenizer.ggml.token_type_count": (U32, 2),
        "tokenizer.ggml.model": (STRING, "bert"), "tokenizer.ggml.pre": (STRING, "default"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, pieces + [f"[PAD{i}]" for i in range(12, 16)])),
        "tokenizer.ggml.token_type": (ARRAY, (5, [3] * 5 + [1] * 7 + [5] * 4)),
        "tokenizer.ggml.bos_token_id": (U32, 2), "tokenizer.ggml.cls_token_id": (U32, 2),
        "tokenizer.ggml.eos_token_id": (U32, 3), "tokenizer.ggml.seperator_token_id": (U32, 3),
        "tokenizer.ggml.unknown_token_id": (U32, 1), "tokenizer.ggml.padding_token_id": (U32, 0),
        "tokenizer.ggml.add_bos_token": (BOOL, True), "tokenizer.ggml.add_eos_token": (BOOL, True)})
    print_tokens = os.path.join(os.environ["TOP_BUILDDIR"], "tests", "unit", "print_tokens")
    write_text(os.path.join(folder, "words.txt"), "A Lights, light-ing h\u00e9aven\nlights heavens [MASK] a,a\n")
    ours, theirs = (call(print_tokens, file, os.path.join(folder, "words.txt")) for file in (path, out))
    check(ours == theirs and "2 5 6 7 10 6 1" in ours, f"tokens of the folder {ours!r}, of the GGUF {theirs!r}")
    write_text(path, json.dumps(words_tokenizer(lowercase=False)[0]))
    _, errors = convert(source, wants=1)
    check("GGUF files have words without case and accents only" in errors and errors.count("error:") == 1, errors)


def test_positions(folder):
    old = "model.layers.0.self_attn."
    rows = random_tensors(3, llama_shapes() | {f"{old}{name}_proj.bias": size for name, size in
                                               (("q", 64), ("k", 32), ("v", 32))})
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}
    source = os.path.join(folder, "llama3")
    write_model(source, CONFIG | {"rope_scaling": scaling}, rows)
    keys, tensors = read_gguf(convert(source)[0])
    speeds = 500000.0 ** (-numpy.arange(0, 16, 2) / 16)
    kept = numpy.clip((64 * speeds / (2 * numpy.pi) - 1) / 3, 0, 1)
    kind, shape, data = tensors["rope_freqs.weight"]
    slower = numpy.frombuffer(data[:32], "<f4")
    check((kind, shape) == (0, [8]) and numpy.allclose(slower, 1 / (kept + (1 - kept) / 8), rtol=1e-6), f"rope_freqs {slower}")
    check({1.0, 8.0} < set(slower.tolist()), "rope_freqs: not all three kinds of frequencies are there")
    check("llama.rope.scaling.type" not in keys, "scaled twice")
    for name, heads in (("q", 4), ("k", 2)):
        check(tensors[f"blk.0.attn_{name}.bias"][2][: 64 * heads] == pair_rows(rows[f"{old}{name}_proj.bias"], heads).tobytes(),
              f"bias of {name}: other bytes")
    check(tensors["blk.0.attn_v.bias"][2][:128] == rows[f"{old}v_proj.bias"].tobytes(), "bias of v: other bytes")
    check("output.weight" not in tensors, "a tied head is written")


# ---- tokenizers ----


def scored_tokenizer():
    """Characters, with bytes for others; two merges make one token"""
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "b", "\u2581a", "ab", "\u2581ab"]
    added = [{"id": i, "content": texts[i], "special": True, "normalized": False, "single_word": False, "lstrip": False,
              "rstrip": False} for i in range(3)]
    added.append({**added[0], "id": len(texts), "content": "\u2581\u2581x", "special": False})
    return {"version": "1.0", "added_tokens": added, "pre_tokenizer": None, "post_processor": None,
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
            "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                      "vocab": {text: i for i, text in enumerate(texts)},
                      "merges": ["a b", ["\u2581", "a"], "\u2581 ab", ["\u2581a", "b"]]}}, texts


def test_scored(folder):
    source = os.path.join(folder, "scored")
    tokenizer, texts = scored_tokenizer()
    write_model(source, CONFIG | {"eos_token_id": 2}, random_tensors(4, llama_shapes()))
    write_text(os.path.join(source, "tokenizer.json"), json.dumps(tokenizer))
    write_text(os.path.join(source, "tokenizer_config.json"), json.dumps({
        "bos_token": {"content": "<s>"}, "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": True,
        "chat_template": [{"name": "tool", "template": "no"}, {"name": "default", "template": "{{ \u00e9 }}\n"}]}))
    keys, _ = read_gguf(convert(source)[0])
    count = len(texts) + 1
    scores = {texts.index("ab"): 0.0, texts.index("\u2581a"): -1.0, texts.index("\u2581ab"): -2.0}
    kinds = [2, 3, 3] + [6] * 256 + [1] * 6 + [4] + [5] * (512 - count)
    check_keys("scored", {key: value for key, value in keys.items() if key.startswith("tokenizer.")}, {
        "tokenizer.ggml.model": (STRING, "llama"), "tokenizer.ggml.pre": (STRING, "default"),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, texts + ["  x"] + [f"[PAD{i}]" for i in range(count, 512)])),
        "tokenizer.ggml.scores": (ARRAY, (F32, [scores.get(i, -5.0 if kinds[i] == 1 else 0.0) for i in range(512)])),
        "tokenizer.ggml.token_type": (ARRAY, (5, kinds)),
        "tokenizer.ggml.bos_token_id": (U32, 1), "tokenizer.ggml.eos_token_id": (U32, 2),
        "tokenizer.ggml.unknown_token_id": (U32, 0), "tokenizer.ggml.add_bos_token": (BOOL, True),
        "tokenizer.ggml.add_eos_token": (BOOL, True), "tokenizer.ggml.add_space_prefix": (BOOL, True),
        "tokenizer.chat_template": (STRING, "{{ \u00e9 }}\n")})


def pattern(digits):
    return ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}%s| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+"
            "|\\s+(?!\\S)|\\s+" % digits)


def test_splitters(folder):
    source = os.path.join(folder, "splitters")
    write_model(source, CONFIG, random_tensors(5, llama_shapes()))
    path = os.path.join(source, "tokenizer.json")
    with open(path, encoding="utf-8") as file:
        tokenizer = json.load(file)
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    for digits, whole, name in (("{1,3}", True, "llama-bpe"), ("{1,3}", False, "dbrx"), ("", False, "qwen2")):
        split = {"type": "Split", "pattern": {"Regex": pattern(digits)}, "behavior": "Isolated", "invert": False}
        tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, level]}
        tokenizer["model"]["ignore_merges"] = whole
        write_text(path, json.dumps(tokenizer))
        keys, _ = read_gguf(convert(source)[0])
        check(keys["tokenizer.ggml.pre"] == (STRING, name), f"{name}: {keys['tokenizer.ggml.pre']}")
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, level]}
    write_text(path, json.dumps(tokenizer))
    _, errors = convert(source, wants=1)
    check("pre_tokenizer: GGUF files have no name for how it splits a text" in errors, errors)


# ---- what is no good ----


def test_refusals(folder):
    source = os.path.join(folder, "bad")
    rows = random_tensors(6, llama_shapes())
    write_model(source, CONFIG, rows)
    path = os.path.join(source, "tokenizer.json")
    text = open(path, encoding="utf-8").read()
    for content, wanted in (
        (text[:2000], "tokenizer.json: line "),
        ("[]", "tokenizer.json: line 1: is no JSON object"),
        (text.replace('"model"', '"module"', 1), "tokenizer.json: it has no model"),
        (text.replace('"type": "BPE"', '"type": "WordPiece"').replace('"unk_token": null', '"unk_token": "<s>"'),
         "tokenizer.json: normalizer and pre_tokenizer: GGUF files have words without case"),
        (json.dumps({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}}),
         "tokenizer.json: has no form in GGUF"),
    ):
        write_text(path, content)
        _, errors = convert(source, wants=1)
        check(wanted in errors and errors.count("error:") == 1, f"{wanted!r}: {errors}")
    os.remove(path)
    out, errors = convert(source)
    check("warning: model m has no tokenizer.json" in errors, errors)
    check(read_gguf(out)[0]["tokenizer.ggml.model"] == (STRING, "none"), "a tokenizer from nowhere")
    for name, config, wanted in (
        ("short", CONFIG, 'token "'), ("keyless", {k: v for k, v in CONFIG.items() if k != "rms_norm_eps"},
                                       "the model's config has no \"rms_norm_eps\""),
        ("heads", CONFIG | {"num_attention_heads": 5, "head_dim": 16}, '"model.layers.0.self_attn.q_proj.weight" has 64 rows, no multiple of 10'),
        ("typed", CONFIG | {"num_hidden_layers": "one"}, '"llama.block_count" is one, expected a u32'),
    ):
        few = {**rows, "model.embed_tokens.weight": rows["model.embed_tokens.weight"][:100]} if name == "short" else rows
        write_model(source + name, config, few)
        _, errors = convert(source + name, wants=1)
        check(wanted in errors, f"{name}: {errors}")
    write_model(source + "more", CONFIG, rows | {"model.layers.0.self_attn.sinks": rows["model.norm.weight"]})
    _, errors = convert(source + "more", wants=1)
    check('export llama into gguf has no place for "model.layers.0.self_attn.sinks"' in errors, errors)
    write_model(source + "new", CONFIG | {"model_type": "novel"}, rows)
    out, errors = convert(source + "new")
    check('warning: no export into gguf is for the architecture "novel"' in "".join(errors.splitlines(True)[:1]).split(": ", 1)[1], errors)
    check("model.norm.weight" in read_gguf(out)[1], "names of a model without an export")


def main():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(TINY, os.path.join(folder, "tiny"))
        for test in (test_llama, test_same_bytes, test_gpt2, test_experts, test_shared_expert, test_bert, test_positions, test_scored, test_splitters,
                     test_refusals):
            test(folder)
    finish("export")


main()
