#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A network that is run for passes, layer by layer, its states in memory or in a file alone: the same bytes for 1, 2 and
7 threads and two limits, and the peak that was announced; killed behind the first layer, it goes on from there, under
another limit too; and what it cannot trust, damaged states and data that have changed, is made anew.

The checkpoint is that of examples/tiny-llama.
"""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import numpy

from testing import EXAMPLES, bytes_of, call, check, cmpc, finish

MODEL = os.path.join(EXAMPLES, "tiny-llama")
PROGRAM = """model m from "%s"
data d from "tokens.npy"
pipeline p of m {
  prune.wanda(sparsity: 50%%, data: d) on attn_q, attn_k, attn_v, ffn_gate, ffn_up, ffn_down
  quantize.gptq(dtype: q4_0, data: d) on attn_output
  save "out"
}
"""
SLOT = 4096  # a mark lies at the beginning of each of two: two words of a key, net, call
STATES_HEAD = 2 * SLOT
BEHIND_FIRST_LAYER = 2  # call 0 reads the embedding, 1 asks the first layer, 2 hands on from it


def write_tokens(seed):
    generator = numpy.random.default_rng(seed)
    tokens = generator.integers(0, 512, (40, 48)).astype(numpy.int32)
    tokens[3, 30:] = tokens[8, 2:] = -1  # samples of other lengths
    numpy.save("tokens.npy", tokens)


def run(*options, output="out"):
    """The report; the result is in `output`."""
    said = call("./exe", "--no-sync", "--json", "--force", "--output", output, *options)
    return json.loads(said.strip().split("\n")[-1])


def planned(*options):
    return json.loads(call("./exe", "--dry-run", "--json", *options))


def smallest_limit():
    said = call("./exe", "--memory", "1MiB", "--output", "never", wants=1)
    check(not any("never" in name for name in os.listdir(".")), "too little memory: something is left")
    return re.search(r"the smallest that works is ([0-9]+MiB)", said)[1]


def check_limits(wanted):
    limit = smallest_limit()
    for memory in ([], ["--memory", limit]):
        for threads in ("1", "2", "7"):
            report = run("--threads", threads, *memory)
            plan = planned("--threads", threads, *memory)
            check(bytes_of("out") == wanted, f"{memory} {threads} threads: other bytes")
            check(report["peak_memory"] <= plan["memory"], f"{memory} {threads}: {report['peak_memory']} {plan}")
            check(not memory or plan["memory"] <= int(limit[:-3]) << 20, f"{memory} {threads}: {plan}")
    free, tight = planned("--threads", "1"), planned("--threads", "1", "--memory", limit)
    states = 4 * 256 * int((numpy.load("tokens.npy") >= 0).sum())
    check(free["memory"] - tight["memory"] > 0.8 * states, f"spilled: {free['memory']} to {tight['memory']}")
    check(tight["disk"] >= 2 * states, f"spilled: {tight['disk']} bytes of disk")
    return limit


def marked_call():
    """The call that the newer mark stands behind; -1: there is none."""
    try:
        with open(".out.cmpc-states", "rb") as file:
            head = file.read(STATES_HEAD)
    except FileNotFoundError:
        return -1
    marks = [struct.unpack_from("<4Q", head.ljust(STATES_HEAD, b"\0"), slot) for slot in (0, SLOT)]
    return max((call for *key, _, call in marks if any(key)), default=-1)


def kill_in_second_layer(*options):
    shutil.rmtree("out", ignore_errors=True)
    process = subprocess.Popen(["./exe", "--no-sync", "--quiet", "--output", "out", *options])
    while process.poll() is None and marked_call() < BEHIND_FIRST_LAYER:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    check(process.wait() == -signal.SIGKILL, "killed too late")


def check_resumed(wanted, full, limit):
    def resumed(what, *options):
        report = run(*options)
        check(bytes_of("out") == wanted, f"{what}: other bytes")
        left = sorted(name for name in os.listdir(".") if "cmpc-" in name)
        check(not left, f"{what}: left behind {left}")
        return report["bytes_read"]

    down, embedding = 2 * 256 * 512, 2 * 512 * 256
    layer = 2 * (2 * 256 * 256 + 2 * 256 * 64) + 3 * down
    first = embedding + layer - down + layer  # what the first layer's inputs take, and its jobs
    for before, after in (([], []), (["--memory", limit], ["--threads", "7"]), ([], ["--memory", limit])):
        kill_in_second_layer(*before)
        read = resumed(f"{before} {after}", *after)
        check(read <= full - first, f"{before} {after}: {read} bytes are read, of {full}")
    kill_in_second_layer()
    with open(".out.cmpc-states", "r+b") as file:
        file.seek(STATES_HEAD)
        bytes_there = file.read()
        file.seek(STATES_HEAD)
        file.write(bytes(255 - b for b in bytes_there))
    read = resumed("damaged states")
    check(full - layer >= read > full - 2 * layer, f"damaged states: {read} bytes are read, of {full}")


def check_other_data():
    """As many tokens, but others: what was made of the first ones must not be gone on with."""
    kill_in_second_layer()
    write_tokens(6)
    run()
    found = bytes_of("out")
    run(output="fresh")
    check(found == bytes_of("fresh"), "other data: the result is of both")
    shutil.rmtree("fresh")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_tokens(5)
        with open("p.cmp", "w", encoding="utf-8") as file:
            file.write(PROGRAM % MODEL)
        status, _, said = cmpc("build", "p.cmp", "-o", "exe")
        check(status == 0, "build", said)
        full = run("--threads", "2")
        events = [json.loads(line) for line in call("./exe", "--no-sync", "--json", "--force").strip().split("\n")]
        parts = [event for event in events if re.match(r"layer [0-2], sample \d+ of 40$", event.get("part", ""))]
        check(parts and all(event["seconds_left"] >= 0 for event in parts), "no progress of the net", str(events[:3]))
        wanted = bytes_of("out")
        plan = planned()
        check(full["bytes_read"] == plan["bytes_read"], f"{full['bytes_read']} bytes are read, not {plan}")
        limit = check_limits(wanted)
        check_resumed(wanted, full["bytes_read"], limit)
        check_other_data()
    finish("streaming")


main()
