#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What networks and data may have wrong with them, with the message of each or what is done instead: NaN in weights and
in what layers make, vocabularies that disagree, texts and images of other sizes, inputs that are always zero or all
alike, heads that are tied or not. Tokenizers that are missing and texts that are empty are in tests/errors/text.cmp."""
import json
import os
import re
import struct
import tempfile

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy

from testing import CMPC, EXAMPLES, call, check, cmpc, finish, read_safetensors, write_safetensors, write_text
from images import write_idx
import llama

WIDTH, TOKENS = 64, 512
CONFIG = {"model_type": "llama", "hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 1,
    "vocab_size": TOKENS, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 64}
TABLE, HEAD, NORM, LAYER = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.0."
GATE, UP, DOWN, QUERY = (LAYER + name + ".weight" for name in ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "self_attn.q_proj"))
MATRICES = [QUERY, *(QUERY.replace("q_", part + "_") for part in "kvo"), GATE, UP, DOWN]
TEXT = "Once there was a day in the park, and all that were there saw it."


def make_tensors():
    random = numpy.random.default_rng(7)
    vectors = {name: numpy.ones(WIDTH) for name in (NORM, LAYER + "input_layernorm.weight", LAYER + "post_attention_layernorm.weight")}
    matrices = {name: random.normal(size=(WIDTH, WIDTH)) / 8 for name in MATRICES}
    return {TABLE: random.normal(size=(TOKENS, WIDTH)), HEAD: random.normal(size=(TOKENS, WIDTH)) / 8, **vectors, **matrices}


TENSORS = make_tensors()


def write_model(changes=None, **settings):
    """changes: tensors instead; None: without."""
    os.makedirs("m", exist_ok=True)
    tensors = {n: v for n, v in {**TENSORS, **(changes or {})}.items() if v is not None}
    write_safetensors("m/model.safetensors", {n: ("F32", v.shape, v.astype("<f4").tobytes()) for n, v in tensors.items()})
    write_text("m/config.json", json.dumps({**CONFIG, **settings}))
    return {n: v.astype("<f4").astype(float) for n, v in tensors.items()}


def changed(name, place, value):
    tensor = TENSORS[name].copy()
    tensor[place] = value
    return {name: tensor}


def write_program(statement=None, data="rows.npy", properties="", output="out.safetensors"):
    pipeline = f'pipeline p of m {{\n  {statement}\n  report "out.json"\n  save "{output}"\n}}\n' if statement else ""
    write_text("a.cmp", f'model m from "m"\ndata d from "{data}" {properties}\n{pipeline}')
    return ("run", "a.cmp", "--quiet", "--force") if statement else ("eval", "a.cmp")


def expect(what, message, *arguments):
    """One message, and nothing written."""
    status, text, errors = cmpc(*arguments)
    check(status == 1 and not text and errors.split("\n")[0].endswith(message), f"{what}: exit {status}", text + errors)
    check(not os.path.exists("out.safetensors"), f"{what}: something was saved")


def notes():
    with open("out.json", encoding="utf-8") as file:
        return {t["tensor"]: t["notes"] for t in json.load(file)["tensors"] if t["notes"]}


# ---- NaN ----


def check_nonfinite():
    goes_on = "is NaN or infinite (number {}); --nonfinite=zero or --nonfinite=keep goes on"
    overflow = {GATE: TENSORS[GATE] * 1e25, UP: TENSORS[UP] * 1e24}
    largest = f'the tensors that it reads are finite, the largest number, {abs(overflow[GATE]).max():.3g}, is in "{GATE}"'
    gptq = "quantize.gptq(dtype: q8_0, data: d) on linear"
    for what, changes, statement, message in (
        ("a weight", changed(UP, (5, 7), numpy.nan), None, f'error: tensor "{UP}": element [5, 7] {goes_on.format(327)}'),
        ("a norm", changed(NORM, 3, numpy.inf), None, f'error: tensor "{NORM}": element [3] {goes_on.format(3)}'),
        ("a weight, calibrated", changed(UP, (5, 7), numpy.nan), gptq, f'error: tensor "{UP}": element [5, 7] {goes_on.format(327)}'),
        ("overflow", overflow, None,
            f'layer 0 makes element 0 of "x" NaN or infinite, in sample 0; {largest}; --nonfinite=keep goes on'),
        ("overflow, calibrated", overflow, gptq, f'of "input(wd)", which meets tensor "{DOWN}", NaN or infinite, in sample 0; '
            f"{largest}; --nonfinite=keep goes on"),
    ):
        write_model(changes)
        arguments = write_program(statement)
        expect(what, message, *arguments)
    write_model(changed(TABLE, (9, 1), numpy.inf))
    call(CMPC, "quantize", "m", "q8_0", "-o", "coded.gguf", "--quiet", "--nonfinite=keep")
    write_text("a.cmp", 'model m from "coded.gguf" as llama\ndata d from "rows.npy"\n')
    said = call(CMPC, "eval", "a.cmp", wants=1)
    check('tensor "token_embd.weight": number ' in said and "its codes stand for is NaN or infinite" in said, f"coded: {said}")


# ---- data that do not fit ----


def check_data():
    for what, changes, properties, data, message in (
        ("rows of the embedding", {TABLE: TENSORS[TABLE][:300]}, "", "rows.npy",
            f'error: "{HEAD}" of m has the shape [512, 64]: axis "v" has 512 elements there'),
        ("tokens", {TABLE: TENSORS[TABLE][:300], HEAD: None}, "", "large.npy",
            "error: large.npy: token 300, number 2, is not in the model's vocabulary of 300"),
        ("the tokenizer", {TABLE: TENSORS[TABLE][:20], HEAD: None}, f'{{ per line  tokenizer "{EXAMPLES}/tiny-llama" }}', "some.txt",
            "error: some.txt: its tokenizer, which knows 512 tokens, makes some that are not in the model's vocabulary of 20: "
            "it is another model's"),
        ("a text of no line", {}, f'{{ per line  tokenizer "{EXAMPLES}/tiny-llama" }}', "blank.txt",
            "error: blank.txt: no sample has two tokens, so there is nothing to predict"),
    ):
        write_model(changes, vocab_size=len(changes.get(TABLE, TENSORS[TABLE])))
        expect(what, message, *write_program(None, data, properties))
    write_model()
    said = [call(CMPC, *write_program(None, "some.txt", f'{{ window {n}  tokenizer "{EXAMPLES}/tiny-llama" }}')) for n in (500, 60)]
    check(said[0] == said[1] and " of 1 samples)" in said[0], f"a text shorter than the window is one sample: {said}")


def check_images():
    random = numpy.random.default_rng(3)
    shapes = {"input.weight": (8, 24), "output.weight": (5, 8)}
    os.makedirs("m", exist_ok=True)
    write_safetensors("m/model.safetensors",
        {n: ("F32", s, random.normal(size=s).astype("<f4").tobytes()) for n, s in shapes.items()})
    write_text("m/config.json", "{}")
    write_idx("one-labels-idx1-ubyte", numpy.zeros(3, numpy.uint8))
    write_text("a.cmp", 'model m from "m" as mlp\ndata d from "one-images-idx3-ubyte"\n')
    images = random.integers(0, 256, (3, 6, 4)).astype(numpy.uint8)
    write_idx("one-images-idx3-ubyte", images)
    call(CMPC, "eval", "a.cmp")
    write_idx("one-images-idx3-ubyte", images[:, 1:])
    said = call(CMPC, "eval", "a.cmp", wants=1)
    check("a.cmp:2:1: note: the images have 1 channels of 5 x 4" in said, f"images of another size: {said}")


# ---- inputs that say little ----


def weights(statement):
    """Of the matrices, with their types."""
    call(CMPC, *write_program(statement))
    made = read_safetensors("out.safetensors")
    os.remove("out.safetensors")
    return {name: made[name] for name in MATRICES}


def check_zeros():
    """Every input is always zero, as is that of an expert that no token is sent to: weights are changed as without data."""
    write_model({TABLE: 0 * TENSORS[TABLE]})
    for statement, alike, note in (
        ("quantize.gptq(dtype: bf16, data: d)", "quantize.rtn(bf16)", {"damping": "inf"}),
        ("prune.sparsegpt(data: d)", "prune.magnitude(50%, scope: tensor)", {"damping": "inf"}),
        ("prune.wanda(data: d)", "prune.magnitude(50%)", {"largest input": 0}),
    ):
        made = weights(f"{statement} on linear")
        check(notes() == {name: note for name in MATRICES}, f"{statement}: {notes()}")
        check(made == weights(f"{alike} on linear"), f"{statement}: as {alike} has them")
    call(CMPC, *write_program("quantize.awq(dtype: q8_0, data: d) on linear except attn_output", output="out.gguf"))
    call(CMPC, *write_program("quantize.rtn(dtype: q8_0) on linear except attn_output", output="plain.gguf"))
    call(CMPC, "decode", "out.gguf", "-o", "a.safetensors")
    call(CMPC, "decode", "plain.gguf", "-o", "b.safetensors")
    check(read_safetensors("a.safetensors") == read_safetensors("b.safetensors"), "awq: weights are rounded as they are")


def check_rank():
    """One token: one direction, which the damping makes a matrix that can be factored."""
    write_model()
    numpy.save("rows.npy", numpy.full((1, 2), 7, numpy.int32))
    call(CMPC, *write_program("quantize.gptq(dtype: bf16, data: d) on linear"))
    check(notes() == {}, f"damped: {notes()}")
    call(CMPC, *write_program("quantize.gptq(dtype: bf16, data: d, damp: 0%) on linear"))
    check(set(notes()) == set(MATRICES), f"without damping: {notes()}")
    check(all(n["damping"] >= 0.0099 for n in notes().values()), f"without damping: {notes()}")
    os.remove("out.safetensors")


# ---- heads ----


def perplexity(model):
    write_text("a.cmp", f'model m from "{model}"\ndata d from "rows.npy"\n')
    return float(re.match(r"perplexity\(d\) = ([0-9.]+)", call(CMPC, "eval", "a.cmp"))[1])


def check_heads(rows):
    """The head is the tensor that is there, else the embedding, whatever tie_word_embeddings says."""
    for tied in (True, False):
        for head in (TENSORS[HEAD], None):
            tensors = write_model({HEAD: head}, tie_word_embeddings=tied)
            losses = [llama.losses(llama.forward(tensors, CONFIG, row), row) for row in rows]
            wanted, found = numpy.exp(numpy.concatenate(losses).mean()), perplexity("m")
            check(abs(found / wanted - 1) < 1e-4, f"tied {tied}, head {head is not None}: {found}, not {wanted}")
            if not tied:
                continue
            call(CMPC, *write_program("quantize.rtn(dtype: q8_0) on embedding", output="out.gguf"))
            names = call(CMPC, "inspect", "out.gguf")
            check(("\noutput.weight " in names) == (head is not None), f"tied {tied}: GGUF of {names}")
            again = perplexity("out.gguf")
            check(abs(again / wanted - 1) < 0.02, f"tied {tied}, head {head is not None}: GGUF {again}, not {wanted}")
    write_model({HEAD: None}, tie_word_embeddings=True)
    expect("the head of a tied model", "error: this selection takes no tensor of m", *write_program("q8_0 on head"))
    expect("the input of a tied embedding", 'error: no product of this part reads "token"',
        *write_program("prune.wanda(data: d) on embedding"))


def main():
    rows = numpy.random.default_rng(5).integers(0, 300, (2, 24)).astype(numpy.int32)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        numpy.save("rows.npy", rows)
        numpy.save("large.npy", numpy.array([4, 2, 300, 1], numpy.int32))
        write_text("some.txt", TEXT)
        write_text("blank.txt", "\n\n")
        check_nonfinite()
        check_data()
        check_images()
        check_heads(rows)
        check_zeros()
        check_rank()
        os.chdir("/")
    finish("net_bad_input")


main()
