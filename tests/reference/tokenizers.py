# SPDX-License-Identifier: MIT
"""Tokenizers from a tokenizer.json, slowly: each rule as its paper or library states it, character by character,
without patterns, queues or tries. And makers of small vocabularies from a text."""

import collections
import unicodedata

SPACE = "\u2581"


def alphabet():
    """byte to the character that byte-level vocabularies write for it"""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {**{byte: chr(byte) for byte in plain}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


def is_white(c):
    return c.isspace() and c not in "\x1c\x1d\x1e\x1f"


def category(c):
    return unicodedata.category(c)[0]


# ---- words, by the patterns that byte-level models are trained with ----


def endings(text, at, any_case):
    for ending in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"):
        found = text[at:at + len(ending)]
        if (found.lower() if any_case and found.isascii() else found) == ending:
            return at + len(ending)
    return None


def run(text, at, accepts, most=None):
    end = at
    while end < len(text) and accepts(text[end]) and (most is None or end - at < most):
        end += 1
    return end


def blanks(text, at):
    """a run of blanks but the last one, if something stands behind it"""
    end = run(text, at, is_white)
    return end - 1 if end < len(text) and end - at > 1 else end


def words_gpt2(text):
    words, at = [], 0
    kinds = [lambda c: category(c) == "L", lambda c: category(c) == "N",
             lambda c: category(c) not in "LN" and not is_white(c)]
    while at < len(text):
        end = endings(text, at, False)
        for kind in kinds if end is None else []:
            begin = at + (text[at] == " ")
            if run(text, begin, kind) > begin:
                end = run(text, begin, kind)
                break
        end = blanks(text, at) if end is None else end
        words.append(text[at:end])
        at = end
    return words


def words_later(text, digits):
    """those of Llama 3 (3 digits) and Qwen 2 (1)"""
    words, at = [], 0

    def is_letter(c):
        return category(c) == "L"

    def is_sign(c):
        return category(c) not in "LN" and not is_white(c)

    while at < len(text):
        end = endings(text, at, True)
        begin = at + (text[at] not in "\r\n" and category(text[at]) not in "LN")
        if end is None and run(text, begin, is_letter) > begin:
            end = run(text, begin, is_letter)
        if end is None and category(text[at]) == "N":
            end = run(text, at, lambda c: category(c) == "N", digits)
        begin = at + (text[at] == " ")
        if end is None and run(text, begin, is_sign) > begin:
            end = run(text, run(text, begin, is_sign), lambda c: c in "\r\n")
        if end is None:
            end = run(text, at, is_white)
            lines = max((i + 1 for i in range(at, end) if text[i] in "\r\n"), default=None)
            end = lines if lines else blanks(text, at)
        words.append(text[at:end])
        at = end
    return words


# ---- models ----


def merge(symbols, ranks):
    """the neighbours of the lowest rank first, of those the leftmost"""
    symbols = list(symbols)
    while True:
        best = min(((ranks[pair], i) for i, pair in enumerate(zip(symbols, symbols[1:])) if pair in ranks), default=None)
        if best is None:
            return symbols
        symbols[best[1]:best[1] + 2] = [symbols[best[1]] + symbols[best[1] + 1]]


def encode_bpe(word, model, cache):
    if word in cache:
        return cache[word]
    ranks = cache.setdefault("", {tuple(m.split(" ")): i for i, m in enumerate(model["merges"])})
    vocabulary, ids = model["vocab"], []
    if model.get("ignore_merges") and word in vocabulary:
        return [vocabulary[word]]
    symbols = []
    for i, c in enumerate(word):
        c += (model.get("end_of_word_suffix") or "") if i == len(word) - 1 else ""
        if c in vocabulary:
            symbols.append(c)
        elif model["byte_fallback"]:
            symbols += [f"<0x{byte:02X}>" for byte in c.encode()]
        elif model["unk_token"] and not (model["fuse_unk"] and symbols and symbols[-1] == model["unk_token"]):
            symbols.append(model["unk_token"])
    ids = [vocabulary[symbol] for symbol in merge(symbols, ranks)]
    cache[word] = ids
    return ids


def encode_unigram(word, model, cache):
    scores = cache.setdefault("", {text: (score, i) for i, (text, score) in enumerate(model["vocab"])})
    unknown = min(score for score, _ in scores.values()) - 10
    longest = max(map(len, scores))
    best = [(0.0, None, None)] + [None] * len(word)
    for at in range(len(word)):
        for end in range(at + 1, min(len(word), at + longest) + 1):
            known = scores.get(word[at:end]) or ((unknown, model["unk_id"]) if end == at + 1 else None)
            if known and (best[end] is None or best[at][0] + known[0] > best[end][0]):
                best[end] = (best[at][0] + known[0], at, known[1])
    parts, end = [], len(word)
    while end:
        _, at, token = best[end]
        if parts and token == model["unk_id"] == parts[-1][0]:
            parts[-1] = (token, word[at:end] + parts[-1][1])
        else:
            parts.append((token, word[at:end]))
        end = at
    ids = []
    for token, text in reversed(parts):
        if token == model["unk_id"] and model.get("byte_fallback"):
            ids += [scores[f"<0x{byte:02X}>"][1] for byte in text.encode()]
        else:
            ids.append(token)
    return ids


def encode_wordpiece(word, model, _):
    vocabulary, ids, at = model["vocab"], [], 0
    while at < len(word):
        prefix = model["continuing_subword_prefix"] if at else ""
        end = next((end for end in range(len(word), at, -1) if prefix + word[at:end] in vocabulary), None)
        if end is None or len(word) > model["max_input_chars_per_word"]:
            return [vocabulary[model["unk_token"]]]
        ids.append(vocabulary[prefix + word[at:end]])
        at = end
    return ids


# ---- what is around them ----


def normalize_bert(text):
    text = "".join(c for c in text if c in "\t\n\r" or not (c in "\0\ufffd" or unicodedata.category(c)[0] == "C"))
    text = "".join(" " if is_white(c) else f" {c} " if 0x4E00 <= ord(c) <= 0x9FFF or 0x3400 <= ord(c) <= 0x4DBF else c
                   for c in text)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return "".join(c.lower() for c in text)


def words_bert(text):
    words = [""]
    for c in text:
        if is_white(c):
            words.append("")
        elif category(c) == "P" or c in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~":
            words += [c, ""]
        else:
            words[-1] += c
    return [word for word in words if word]


def words_metaspace(text):
    """each blank begins a word"""
    text = text.replace(" ", SPACE)
    text = text if text.startswith(SPACE) else SPACE + text
    words = []
    for c in text:
        if c == SPACE or not words:
            words.append("")
        words[-1] += c
    return words


def split_added(text, tokens):
    """parts between added tokens, and those: the longest of the leftmost"""
    parts, begin, at = [], 0, 0
    while at < len(text):
        found = max((token for token in tokens if text.startswith(token["content"], at)),
                    key=lambda token: len(token["content"]), default=None)
        if found is None:
            at += 1
            continue
        parts += [text[begin:at], found["id"]]
        begin = at = at + len(found["content"])
    return parts + [text[begin:]]


def encode(text, tokenizer, rules, cache):
    """rules: (normalize, words); a text without what stands around it"""
    model = tokenizer["model"]
    encode_word = {"BPE": encode_bpe, "Unigram": encode_unigram, "WordPiece": encode_wordpiece}[model["type"]]
    ids = []
    for part in split_added(text, tokenizer["added_tokens"]):
        if isinstance(part, int):
            ids.append(part)
        elif part:
            for word in rules[1](rules[0](part)):
                ids += encode_word(word, model, cache)
    return ids


# ---- makers ----


def train_bpe(words, count):
    """count merges, the most frequent pair first"""
    texts = {word: list(word) for word in words}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, symbols in texts.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word, symbols in texts.items():
            if best[0] in symbols:
                texts[word] = merge(symbols, {best: 0})
    return merges


def count_words(words):
    return collections.Counter(words)
