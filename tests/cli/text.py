#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tokens of texts: every kind of tokenizer against tests/reference/tokenizers.py, on prose and on what Unicode has
to offer; a text is its tokens' bytes again; text as a data set; what is said of tokenizers and texts that are no good.

Where ../shared is there: the tokens of stories260K that another program made.
"""

import json
import math
import os
import subprocess
import struct
import tempfile

import numpy

from testing import CMPC, EXAMPLES, TOP, check, finish
import tokenizers
from tokenizers import SPACE

BUILD = os.environ.get("TOP_BUILDDIR", ".")
SHARED = os.environ.get("SHARED", os.path.join(TOP, "..", "shared"))
ALPHABET = tokenizers.alphabet()
LATER = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}%s| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
         "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")
HARD = [
    "", " ", "  ", "   a", "a   ", "Hello, World! It's 12345 o'clock; they'LL've gone.", "tabs\tand\r\rreturns \r x",
    "naïve café Ångström e\u0301 A\u030a q\u0323\u0307 q\u0307\u0323 \u1e9b\u0323 ﬁ Ⅷ ½ ²",
    "İstanbul ISTANBUL ΣΊΣΥΦΟΣ Straße ÀÉÎ Ǆ ẞ", "한국어 각 \u1112\u1161\u11ab 韓國 日本語テスト 汉字漢字 𠀀", "👩‍👩‍👧‍👦 emoji 🇩🇪 ☃ \u200b\ufeff",
    "<s> in </s> text <unk> <s><s> <", "x" * 150 + " " + "ab" * 40, "\u00a0\u2003\u3000 blanks \u2028\u0085 here",
    "snake_case CamelCase ALLCAPS 3.14e-10 1,000,000 #tag @name http://x.y/z?q=1&r=2", "\u0001\u0007\u007f controls \ufffd",
    "ab\u0315\u0300\u05ae\u0300b \u0344 \u0958 \ufb2c \u2126 \u212b", "'s 'T ''d 'sup '", f"{SPACE} {SPACE}a{SPACE}{SPACE}b", "٣٤٥ ४५ 六 ⅓",
]


def tokens_of(tokenizer, texts, folder, *options):
    """of each line of a text, or of each text with -w; what is printed is a line each"""
    path = os.path.join(folder, "text")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("".join(text + "\n" for text in texts))
    program = os.path.join(BUILD, "tests", "unit", "print_tokens")
    done = subprocess.run([program, *options, tokenizer, path], capture_output=True, text=True, timeout=120)
    check(done.returncode in (0, 1) and not done.stderr, f"{tokenizer}: {done.returncode} {done.stderr}")
    return done.stdout


# ---- tokenizers of every kind, trained on a text ----


def special(*contents):
    return [{"id": i, "content": content, "special": True, "normalized": False, "single_word": False, "lstrip": False,
             "rstrip": False} for i, content in enumerate(contents)]


def template(front, back=None):
    around = [t for t in (front, back) if t]
    single = [{"SpecialToken": {"id": front[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    single += [{"SpecialToken": {"id": back[0], "type_id": 0}}] if back else []
    return {"type": "TemplateProcessing", "single": single, "pair": single,
            "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in around}}


def number(texts):
    return {text: i for i, text in enumerate(dict.fromkeys(texts))}


def bpe(specials, first, merges, **more):
    vocabulary = number([*specials, *first, *(a + b for a, b in merges)])
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary,
            "merges": [f"{a} {b}" for a, b in merges], **more}


def write_bytes(word):
    return "".join(ALPHABET[byte] for byte in word.encode())


def byte_level(text, words, normalizer, splitter, **more):
    merges = tokenizers.train_bpe(tokenizers.count_words(map(write_bytes, words(text))), 250)
    specials = ["<s>", "</s>"]
    return {"added_tokens": special(*specials), "normalizer": normalizer, "pre_tokenizer": splitter,
            "post_processor": template(("<s>", 0)), "model": bpe(specials, ALPHABET.values(), merges, **more)}


def split_later(digits):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": LATER % digits}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}


def make_tokenizers(text):
    """name: (tokenizer, rules of the reference)"""
    made = {}

    def same(part):
        return part

    def written(words):
        return lambda part: [write_bytes(word) for word in words(part)]

    def later(digits):
        return lambda part: tokenizers.words_later(part, digits)

    made["gpt2"] = (byte_level(text, tokenizers.words_gpt2, None,
                               {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}),
                    (same, written(tokenizers.words_gpt2)))
    prefixed = byte_level(text, tokenizers.words_gpt2, None, {"type": "ByteLevel", "add_prefix_space": True})
    made["roberta"] = (prefixed, (lambda part: part if part.startswith(" ") else " " + part, written(tokenizers.words_gpt2)))
    made["llama3"] = (byte_level(text, later(3), None, split_later("{1,3}"), ignore_merges=True), (same, written(later(3))))
    made["qwen2"] = (byte_level(text, later(1), {"type": "NFC"}, split_later("")),
                     (lambda part: tokenizers.unicodedata.normalize("NFC", part), written(later(1))))
    # a text is one word: merges go over blanks
    spaced = (SPACE + text.replace(" ", SPACE)).splitlines()
    merges = tokenizers.train_bpe(tokenizers.count_words(spaced), 250)
    specials = ["<unk>", "<s>", "</s>"]
    values = [f"<0x{byte:02X}>" for byte in range(256)]
    normalizer = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": SPACE}, {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]}
    characters = sorted(set("".join(spaced)))
    made["llama"] = ({"added_tokens": special(*specials), "normalizer": normalizer, "pre_tokenizer": None,
                      "post_processor": template(("<s>", 1)), "model":
                      bpe(specials, values + characters, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)},
                     (lambda part: SPACE + part.replace(" ", SPACE), lambda part: [part]))
    made["letters"] = ({"added_tokens": special(*specials), "normalizer": normalizer, "pre_tokenizer": None,
                        "post_processor": None, "model": bpe(specials, characters, merges, unk_token="<unk>", fuse_unk=True)},
                       (lambda part: SPACE + part.replace(" ", SPACE), lambda part: [part]))
    count = tokenizers.count_words(w for line in text.lower().splitlines() for w in tokenizers.words_bert(line))
    ended = train_marked(count, 250)
    made["suffix"] = ({"added_tokens": special(*specials), "normalizer": {"type": "Lowercase"},
                       "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None, "model":
                       bpe(specials, [c + e for c in sorted(set(text.lower())) for e in ("", "</w>")], ended,
                           unk_token="<unk>", end_of_word_suffix="</w>")},
                      (lambda part: "".join(c.lower() for c in part), tokenizers.words_bert))
    for name, more in ("unigram", {}), ("unigram_bytes", {"byte_fallback": True}):
        pieces = frequent_pieces(spaced)
        vocabulary = [["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0]] + ([[value, 0.0] for value in values] if more else [])
        made[name] = ({"added_tokens": special(*specials), "normalizer": None, "pre_tokenizer":
                       {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True},
                       "post_processor": template(("<s>", 1), ("</s>", 2)), "model":
                       {"type": "Unigram", "unk_id": 0, "vocab": vocabulary + pieces, "byte_fallback": False, **more}},
                      (lambda part: part, tokenizers.words_metaspace))
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    begins = [w[:n] for w in count for n in (1, 2, 3, len(w)) if n <= len(w)]
    goes_on = ["##" + w[-n:] for w in count for n in (1, 2, 3) if n < len(w)]
    made["bert"] = ({"added_tokens": special(*specials), "normalizer": {"type": "BertNormalizer", "clean_text": True,
                     "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
                     "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": template(("[CLS]", 2), ("[SEP]", 3)),
                     "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                               "max_input_chars_per_word": 100, "vocab": number([*specials, *begins, *goes_on])}},
                    (tokenizers.normalize_bert, tokenizers.words_bert))
    return made


def train_marked(count, merges):
    """merges of words whose last character is marked: another letter, while they are counted"""
    private = {c: chr(0xE000 + i) for i, c in enumerate(sorted(set("".join(count))))}
    back = {p: c + "</w>" for c, p in private.items()}
    trained = tokenizers.train_bpe({word[:-1] + private[word[-1]]: times for word, times in count.items()}, merges)
    return [tuple("".join(back.get(c, c) for c in side) for side in pair) for pair in trained]


def frequent_pieces(lines):
    count = tokenizers.count_words(
        line[i:i + n] for line in lines for n in (1, 2, 3, 4, 6) for i in range(0, len(line) - n))
    total = sum(count.values())
    frequent = {piece: times for piece, times in count.most_common(400) if SPACE not in piece[1:]}
    rare = {c: 1 for c in sorted(set("".join(lines))) if c not in frequent}
    return [[piece, math.log(times / total)] for piece, times in {**frequent, **rare}.items()]


# ---- the same in GGUF ----


def write_gguf(path, pairs):
    """pairs: key to str, bool, int (u32), or (type, list)"""

    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    out = b""
    for key, value in pairs.items():
        out += text(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + text(value)
        elif isinstance(value, bool):
            out += struct.pack("<IB", 7, value)
        elif isinstance(value, int):
            out += struct.pack("<II", 4, value)
        else:
            kind, items = value
            out += struct.pack("<IIQ", 9, {"i": 5, "f": 6, "s": 8}[kind], len(items))
            out += b"".join(map(text, items)) if kind == "s" else struct.pack(f"<{len(items)}{kind}", *items)
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + out)
        file.write(bytes(-file.tell() % 32))


def gguf_pairs(name, tokenizer):
    """and the ranks of merges that its reader makes, None: they are the file's own"""
    model = tokenizer["model"]
    texts = sorted(model["vocab"], key=model["vocab"].get)
    added = [token["content"] for token in tokenizer["added_tokens"]]
    types = [3 if t in added else 6 if t.startswith("<0x") else 1 for t in texts]
    key = "tokenizer.ggml."
    pairs = {"general.architecture": "none", key + "tokens": ("s", texts), key + "token_type": ("i", types)}
    if name == "llama":
        types[0] = 2
        scores = [float(-i) for i in range(len(texts))]
        ranks = {(t[:i], t[i:]): j for j, t in enumerate(texts) if types[j] == 1 for i in range(1, len(t))}
        return {**pairs, key + "model": "llama", key + "scores": ("f", scores), key + "bos_token_id": 1}, ranks
    if name == "bert":
        words = [t[2:] if t.startswith("##") else t if t in added else SPACE + t for t in texts]
        return {**pairs, key + "tokens": ("s", words), key + "model": "bert", key + "unknown_token_id": 1,
                key + "cls_token_id": 2, key + "seperator_token_id": 3}, None
    pre = {"gpt2": "gpt-2", "llama3": "llama-bpe", "qwen2": "qwen2"}[name]
    return {**pairs, key + "model": "gpt2", key + "pre": pre, key + "merges": ("s", model["merges"]),
            key + "add_bos_token": True, key + "bos_token_id": 0}, None


# ---- checks ----


def expected(texts, tokenizer, rules, ranks=None):
    cache = {"": ranks} if ranks else {}
    processor = tokenizer["post_processor"] or template(("", -1))
    around = [processor["special_tokens"][part["SpecialToken"]["id"]]["ids"] if "SpecialToken" in part else None
              for part in processor["single"]]
    front, back = sum(around[:around.index(None)], []), sum(around[around.index(None) + 1:], [])
    front = [i for i in front if i >= 0]
    return [front + tokenizers.encode(text, tokenizer, rules, cache) + back for text in texts]


def compare(what, file, texts, wanted, folder, *options):
    found = [[int(i) for i in line.split()] for line in tokens_of(file, texts, folder, *options).splitlines()]
    check(len(found) == len(wanted), f"{what}: {len(found)} texts of {len(wanted)}")
    for text, f, w in zip(texts, found, wanted):
        if f != w:
            check(False, f"{what}: {text!r}\n  is {f}\n  not {w}")
            return
    return found


def check_round_trip(what, tokenizer, texts, tokens):
    """Tokens back to bytes; a text that begins with a blank for the tokenizer's own sake loses that."""
    texts_of = {i: text for text, i in tokenizer["model"]["vocab"].items()}
    byte_of = {c: byte for byte, c in ALPHABET.items()}
    for text, ids in zip(texts, tokens):
        if what != "llama":
            parts = [bytes(byte_of[c] for c in texts_of[i]) for i in ids[1:]]
        else:
            parts = [bytes([int(texts_of[i][3:5], 16)]) if texts_of[i].startswith("<0x") else
                     texts_of[i].replace(SPACE, " ").encode() for i in ids[1:]]
        back = b"".join(parts).decode()
        back = back[1:] if what == "llama" and text else back
        check(back == text, f"{what}: {text!r} comes back as {back!r}")


def check_kinds(folder, prose):
    texts = HARD + prose.splitlines()[:40]
    for name, (tokenizer, rules) in make_tokenizers(prose).items():
        file = os.path.join(folder, name + ".json")
        with open(file, "w") as to:
            json.dump(tokenizer, to)
        wanted = expected(texts, tokenizer, rules)
        found = compare(name, file, texts, wanted, folder)
        if name in ("gpt2", "llama3", "llama"):
            plain = [(t, f) for t, f in zip(texts, found or []) if not any(s["content"] in t for s in tokenizer["added_tokens"])
                     and (name != "llama" or SPACE not in t)]
            check_round_trip(name, tokenizer, *zip(*plain))
        if name in ("gpt2", "llama3", "qwen2", "unigram", "bert"):
            whole = "\n".join(HARD + prose.splitlines()[:8] + ["", "", " \n\n end"])
            compare(name, file, [whole], expected([whole + "\n"], tokenizer, rules), folder, "-w")
        if name in ("gpt2", "llama3", "qwen2", "llama", "bert"):
            pairs, ranks = gguf_pairs(name, tokenizer)
            file = os.path.join(folder, name + ".gguf")
            write_gguf(file, pairs)
            if name == "qwen2": # its readers leave text as it is
                rules = (lambda part: part, rules[1])
            if name == "bert": # nor do they know of words that are too long
                tokenizer["model"]["max_input_chars_per_word"] = 10 ** 9
            compare(name + " in GGUF", file, texts, expected(texts, tokenizer, rules, ranks), folder)


def check_refusals(folder, prose):
    pair = make_tokenizers(prose[:2000])
    file = os.path.join(folder, "bad.json")
    for name, change, message in [
        ("gpt2", lambda t: t["model"].update(type="WordLevel"), 'model: its type is "WordLevel", known are'),
        ("gpt2", lambda t: t["model"].update(dropout=0.1), "model: with a dropout it makes other tokens each time"),
        ("gpt2", lambda t: t["model"].update(vocab=[1]), "model: it has no vocabulary of texts and their numbers"),
        ("gpt2", lambda t: t["model"]["vocab"].update(a=-1), 'model: token "a" has no number from 0'),
        ("gpt2", lambda t: t["model"]["vocab"].update(zz=1 << 40), 'model: token "zz" has no number from 0'),
        ("gpt2", lambda t: t["model"]["vocab"].update(zz=7), "model: token 7 stands twice in the vocabulary"),
        ("gpt2", lambda t: t["model"]["merges"].append("q zzz"), '"zzz" is not in the vocabulary'),
        ("gpt2", lambda t: t["model"]["merges"].append("q x"), '"q" and "x" together are no token'),
        ("gpt2", lambda t: t["model"]["merges"].append("qx"), "is no pair of texts"),
        ("gpt2", lambda t: t["model"].update(merges=None), "model: it has no list of merges"),
        ("gpt2", lambda t: t.update(normalizer={"type": "NFKC"}), 'normalizer: the type "NFKC" is not known'),
        ("gpt2", lambda t: t.update(pre_tokenizer={"type": "Split", "behavior": "Isolated", "pattern": {"Regex": "(a"}}),
         'pre_tokenizer Split: pattern "(a": byte 2: missing closing parenthesis'),
        ("gpt2", lambda t: t.update(pre_tokenizer={"type": "Split", "behavior": "Best", "pattern": {"Regex": "a"}}),
         'the behavior "Best" is not known'),
        ("gpt2", lambda t: t["post_processor"].update(special_tokens={}), 'its special token "<s>" has no ids'),
        ("gpt2", lambda t: t["added_tokens"][0].update(id="0"), "added token 0: no content with an id"),
        ("llama", lambda t: t["model"].update(unk_token="<nil>"), 'its unknown token "<nil>" is not in the vocabulary'),
        ("unigram", lambda t: t["model"].update(unk_id=10 ** 6), "model: unk_id is no token of the vocabulary"),
        ("unigram", lambda t: t["model"]["vocab"].append(["a"]), "is no text with a score"),
        ("bert", lambda t: t["model"].update(unk_token=None), "model: it has no unk_token"),
    ]:
        tokenizer = json.loads(json.dumps(pair[name][0]))
        change(tokenizer)
        with open(file, "w") as to:
            json.dump(tokenizer, to)
        said = tokens_of(file, ["a"], folder)
        check(said.startswith("error: ") and message in said and said.count("\n") == 1, f"{message}: {said}")
    with open(file, "w") as to:
        to.write('{ "model": {\n')
    check("line 2: " in tokens_of(file, [], folder), "JSON that ends early")
    pairs, _ = gguf_pairs("gpt2", pair["gpt2"][0])
    for key, value, message in [
        ("pre", "other", 'tokenizer.ggml.pre: "other" is not known'),
        ("model", "rwkv", 'tokenizer.ggml.model: "rwkv", known are llama, gpt2 and bert'),
        ("merges", ("s", ["a"]), "is no pair of tokens that make one"),
        ("token_type", ("i", [1]), "are not as many as the tokens"),
        ("bos_token_id", 10 ** 6, "tokenizer.ggml.bos_token_id: token 1000000 of"),
    ]:
        file = os.path.join(folder, "bad.gguf")
        write_gguf(file, {**pairs, "tokenizer.ggml." + key: value})
        said = tokens_of(file, ["a"], folder)
        check(said.startswith("error: ") and message in said and said.count("\n") == 1, f"{message}: {said}")
    with open(os.path.join(folder, "latin"), "wb") as to:
        to.write(b"caf\xe9\n")
    program = os.path.join(BUILD, "tests", "unit", "print_tokens")
    good = os.path.join(folder, "gpt2.json")
    said = subprocess.run([program, good, os.path.join(folder, "latin")], capture_output=True, text=True).stdout
    check("is not UTF-8" in said, f"Latin-1: {said}")


def check_time(folder):
    """One word of a million letters, which a queue takes in its stride and a search for each merge does not; blanks
    that a pattern tries in several ways."""
    for text in "".join("ab"[i * i % 7 % 2] for i in range(1000000)), " " * 1000000 + "a":
        for name in "gpt2", "llama3", "llama", "unigram":
            said = tokens_of(os.path.join(folder, name + ".json"), [text], folder, "-t")
            check(said.startswith(("0.", "1.", "2.", "3.")), f"{name}: {text[:5]!r} ..: {said}")


def rows_of(lines, text, window):
    """samples of tokens: a line each, cut; then windows of the whole text, each behind its beginning"""
    file = os.path.join(EXAMPLES, "tiny-llama", "tokenizer.json")
    with open(file) as source:
        tokenizer = json.load(source)
    rules = (lambda part: part, lambda part: [write_bytes(word) for word in tokenizers.words_gpt2(part)])
    encoded = [tokenizers.encode(t, tokenizer, rules, {}) for t in (*lines, text)]
    row = encoded.pop()
    return ([[0, *ids[:window - 1]] for ids in encoded if ids],
            [[0, *row[at:at + window - 1]] for at in range(0, len(row), window - 1)])


def check_samples(folder, prose):
    """Text gives the perplexity that its tokens in a file give."""
    model = os.path.join(EXAMPLES, "tiny-llama")
    lines = prose.splitlines()[:6] + ["", "One day", ""]
    with open(os.path.join(folder, "lines.txt"), "w", newline="") as file:
        file.write("\r\n".join(lines))
    with open(os.path.join(folder, "packed.txt"), "w") as file:
        file.write("\n".join(lines))
    by_line, packed = rows_of(lines, "\n".join(lines), 40)
    cut = [row for row in packed if len(row) == 40]
    said = {}
    programs = {"lines": ("lines.txt", "window 40  per line"), "lines_tokens": by_line,
                "packed": ("packed.txt", f"window 40  samples {len(cut)}"), "packed_tokens": cut,
                "chosen": ("packed.txt", "window 40  samples 3  seed 1"), "others": ("packed.txt", "window 40  samples 3  seed 2")}
    program = os.path.join(folder, "samples.cmp")
    with open(program, "w") as file:
        file.write(f'model m from "{model}"\n')
        for name, what in programs.items():
            if not isinstance(what, tuple):
                table = -numpy.ones((len(what), 40), numpy.int32)
                for to, row in zip(table, what):
                    to[:len(row)] = row
                numpy.save(os.path.join(folder, name + ".npy"), table)
                what = (name + ".npy", "")
            file.write(f'data {name} from "{what[0]}" {{ {what[1]} }}\n')
    done = subprocess.run([CMPC, "eval", program], capture_output=True, text=True, timeout=600)
    check(done.returncode == 0, done.stderr)
    for line in done.stdout.splitlines():
        name, value = line.split(") = ")
        said[name.removeprefix("perplexity(")] = value
    check(len(said) == len(programs), done.stdout)
    check(said["lines"] == said["lines_tokens"], f"lines: {said}")
    check(said["packed"] == said["packed_tokens"], f"packed: {said}")
    check(said["chosen"] != said["others"] and all("of 3 samples" in said[n] for n in ("chosen", "others")), f"seeds: {said}")


def check_golden(folder):
    golden = os.path.join(SHARED, "golden", "nets", "stories260K", "tales.json")
    if not os.path.exists(golden):
        return
    with open(golden) as file:
        documents = json.load(file)["documents"]
    with open(os.path.join(SHARED, "data", "tales.txt")) as file:
        texts = file.read().splitlines()[:len(documents)]
    lines = tokens_of(os.path.join(SHARED, "models", "stories260K", "tokenizer.json"), texts, folder).splitlines()
    found = [[int(i) for i in line.split()][:256] for line in lines]
    check(found == [document["tokens"] for document in documents], "stories260K: the tokens of tales.txt")


def main():
    with open(os.path.join(EXAMPLES, "tiny-llama", "heldout.txt")) as file:
        prose = file.read()[:30000]
    with tempfile.TemporaryDirectory() as folder:
        check_kinds(folder, prose)
        check_refusals(folder, prose)
        check_time(folder)
        check_samples(folder, prose)
        check_golden(folder)
    finish("text")


main()
