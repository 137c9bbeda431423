#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Parallel text: the tokens of each pair, those of the target that are to be predicted, samples that a window cuts and
that a seed chooses, against tests/reference/tokenizers.py; a text and pairs in files of other names; and that a model's
perplexity is of the targets' tokens alone."""

import json
import math
import os
import tempfile

import numpy

from testing import CMPC, EXAMPLES, call, check, finish, write_safetensors, write_text
import tokenizers

MODEL = os.path.join(EXAMPLES, "tiny-llama")
# What a net sees, to look at; the loss of a token is its number's hundredth, so that a mean tells which were counted.
NET = """net look {
  one[a, b] = weight "one"
  token[t]  = data "tokens"
  next[t]   = data "next"
  seen[t]   = token[t] * one[0, 0]
  asked[t]  = next[t] * one[0, 0]
  loss[t]   = 0.01 * next[t] * one[0, 0]
}
"""
PAIRS = [("One day", "Un día"), ("she ran to the big tree.", "ella corrió"), ("\"No!\" said Tom", "\"¡No!\""), ("a", " b  c "),
         ("It is a long story about a cat and a dog", "Es una historia"), ("Yes", "Sí")]


def encoder():
    with open(os.path.join(MODEL, "tokenizer.json"), encoding="utf-8") as file:
        tokenizer = json.load(file)
    letters = tokenizers.alphabet()
    rules = (lambda part: part,
             lambda part: ["".join(letters[b] for b in word.encode()) for word in tokenizers.words_gpt2(part)])
    return lambda text: tokenizers.encode(text, tokenizer, rules, {})


def samples_of(encode, between, window):
    """(tokens, what is to be predicted of each place) of each pair that has a target in the window"""
    made = []
    for source, target in PAIRS:
        asked, answer = [0, *encode(source + between)], encode(target)
        tokens = (asked + answer)[:window]
        if len(tokens) > len(asked):
            made.append((tokens, [-1] * (len(asked) - 1) + tokens[len(asked):] + [-1]))
    return made


class Folder:
    def __init__(self, path):
        self.path = path
        os.mkdir(self.at("model"))
        write_safetensors(self.at("model", "model.safetensors"), {"one": ("F32", (1, 1), numpy.ones(1, "<f4").tobytes())})
        write_text(self.at("model", "config.json"), "{}")
        lines = [f"{source}\t{target}" for source, target in PAIRS]
        write_text(self.at("unix.tsv"), "\n".join(lines) + "\n")
        with open(self.at("dos.corpus"), "w", encoding="utf-8", newline="") as file:
            file.write("\r\n".join([lines[0], "", *lines[1:]]))  # an empty line, and no end of the last one

    def at(self, *names):
        return os.path.join(self.path, *names)

    def program(self, data, properties=""):
        tokenizer = os.path.join(MODEL, "tokenizer.json")
        write_text(self.at("look.cmp"), NET + 'model m from "model" as look\n'
                   f'data d from {data} {{ tokenizer "{tokenizer}" {properties} }}\n')
        return self.at("look.cmp")

    def array(self, name, *data):
        call(CMPC, "eval", self.program(*data), "--array", name, "-o", self.at("array.npy"))
        return numpy.load(self.at("array.npy"))

    def compare(self, what, wanted, *data):
        for name, part in (("seen", 0), ("asked", 1)):
            rows = [i for sample in wanted for i in sample[part]]
            found = self.array(name, *data).astype(int).tolist()
            check(found == rows, f"{what}: {name}", f"is  {found}", f"not {rows}")


def check_pairs(folder, encode):
    whole = samples_of(encode, "\n", 1 << 30)
    check(len(whole) == len(PAIRS), "the reference has all pairs")
    folder.compare("pairs", whole, '"unix.tsv"')
    folder.compare("lines as DOS ends them", whole, 'pairs("dos.corpus")')
    folder.compare("the first two", whole[:2], '"unix.tsv"', "samples 2")
    for between in "", " => ":
        folder.compare(f"between {between!r}", samples_of(encode, between, 1 << 30), '"unix.tsv"', f'between "{between}"')
    cut = samples_of(encode, "\n", 16)
    check(0 < len(cut) < len(PAIRS) and any(len(a) < len(b) for (a, _), (b, _) in zip(cut, whole)), "a window cuts and drops")
    folder.compare("a window", cut, '"unix.tsv"', "window 16")


def check_chosen(folder, encode):
    whole = samples_of(encode, "\n", 1 << 30)
    seen, asked = (folder.array(name, '"unix.tsv"', "samples 3  seed 5").astype(int).tolist() for name in ("seen", "asked"))
    taken, at = [], 0
    for sample, (tokens, predicted) in enumerate(whole):
        if seen[at:at + len(tokens)] == tokens and asked[at:at + len(tokens)] == predicted:
            taken.append(sample)
            at += len(tokens)
    check(len(taken) == 3 and at == len(seen), f"a seed takes {taken}")


def check_mean(folder, encode):
    counted = [i for _, predicted in samples_of(encode, "\n", 1 << 30) for i in predicted if i >= 0]
    said = call(CMPC, "eval", folder.program('"unix.tsv"'))
    value = float(said.split(" = ")[1].split()[0])
    wanted = math.exp(0.01 * sum(counted) / len(counted))
    check(abs(value / wanted - 1) < 1e-4 and f"({len(counted)} tokens of {len(PAIRS)} samples)" in said, f"{wanted}: {said}")


def check_text(folder, encode):
    """Text in a file that is not named so."""
    write_text(folder.at("story.md"), "One day\n\nshe ran\n")
    rows = [[0, *encode(line)] for line in ("One day", "she ran")]
    folder.compare("text(..)", [(row, row[1:] + [-1]) for row in rows], 'text("story.md")', "per line")


def main():
    encode = encoder()
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        check_pairs(folder, encode)
        check_chosen(folder, encode)
        check_mean(folder, encode)
        check_text(folder, encode)
    finish("pairs")


main()
