#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kill a program at every part of its run and see that nothing is lost.

    kill.py --output OUT [options] -- EXE ARGUMENTS...

EXE ARGUMENTS writes OUT, a file or a folder, over whatever is there (--force among its arguments).
OUT's folder should hold nothing else that changes. First the program runs to its end a few times:
that gives the time, the right bytes and what a full run reads. Then, --kills times, with the kills
spread evenly over that time: OUT is made absent or an old result, in turn; the program is started
and killed (SIGKILL); OUT must then be the old result (or absent, where it was) or the new one, whole;
the program is run again to its end; OUT must be the new result, and beside it nothing may be left.

What a run reads is `rchar` of /proc/PID/io, taken after the process has ended and before it is
reaped: every byte of every read and pread of all its threads, from the disk or from the cache.
A resumed run that reads fewer than the full run that read least has made use of the killed one.

Exit status 0: no result was wrong, at least --inside percent of the kills came before the end, and
in at least --fewer percent of all the resumed run read less.
"""

import argparse
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

BLOCK = 8 << 20  # bytes compared at a time


# ---- results: a file, or a folder of files ----


def list_files(path):
    """{relative name: size}; a file is one entry named ''; None if there is nothing."""
    if not os.path.lexists(path):
        return None
    if not os.path.isdir(path):
        return {"": os.path.getsize(path)}
    files = {}
    for folder, _, names in os.walk(path):
        for name in names:
            full = os.path.join(folder, name)
            files[os.path.relpath(full, path)] = os.path.getsize(full)
    return files


def same_file(a, b):
    with open(a, "rb", buffering=0) as first, open(b, "rb", buffering=0) as second:
        while True:
            block = first.read(BLOCK)
            if block != second.read(BLOCK):
                return False
            if not block:
                return True


def same_result(path, expected):
    files = list_files(path)
    if files is None or files != list_files(expected):
        return False
    pairs = [(path, expected)] if "" in files else [(os.path.join(path, n), os.path.join(expected, n)) for n in files]
    return all(same_file(a, b) for a, b in pairs)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def copy(source, to):
    remove(to)
    if os.path.isdir(source):
        shutil.copytree(source, to)
    else:
        shutil.copyfile(source, to)


def make_old(new, old):
    """The smallest whole result of the same kind as `new`: files that hold no tensors."""
    empty = {
        ".gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(8),
        ".safetensors": struct.pack("<Q", 8) + b"{}      ",
    }
    if os.path.isdir(new):
        os.mkdir(old)
        with open(os.path.join(old, "model.safetensors"), "wb") as file:
            file.write(empty[".safetensors"])
        with open(os.path.join(old, "config.json"), "wb") as file:
            file.write(b'{"model_type": "llama"}\n')
    else:
        with open(old, "wb") as file:
            file.write(empty.get(os.path.splitext(new)[1], b"an old result\n"))


# ---- runs ----


class Ended:
    """How a run ended: its exit status (negative: the signal), seconds, bytes read, what it said."""

    def __init__(self, status, seconds, read, text):
        self.status, self.seconds, self.read, self.text = status, seconds, read, text


def bytes_read(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(dict(line.split(": ") for line in file)["rchar"])


def run(command, kill_after=None):
    with tempfile.TemporaryFile() as log:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if kill_after is not None:
            time.sleep(max(0, start + kill_after - time.monotonic()))
            os.kill(process.pid, signal.SIGKILL)  # not send_signal, which would reap it
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, but still in /proc
        seconds = time.monotonic() - start
        read = bytes_read(process.pid)
        status = process.wait()
        log.seek(0)
        return Ended(status, seconds, read, log.read().decode(errors="replace"))


def stop(message):
    print(f"kill.py: {message}", file=sys.stderr)
    sys.exit(2)


class Rounds:
    """The program under test, what it should write, and what went wrong."""

    def __init__(self, options, scratch):
        self.options = options
        self.output = os.path.abspath(options.output)
        self.parent = os.path.dirname(self.output)
        self.old = os.path.join(scratch, "old")
        self.new = os.path.join(scratch, "new" + os.path.splitext(self.output)[1])
        self.faults = []

    def measure(self):
        """Full runs; keeps the result as what all others must equal."""
        ended = []
        for number in range(self.options.runs):
            remove(self.output)
            ended.append(run(self.options.command))
            if ended[-1].status:
                stop(f"the program failed by itself, status {ended[-1].status}:\n{ended[-1].text}")
            if list_files(self.output) is None:
                stop(f"the program did not write {self.options.output}")
            if number == 0:
                copy(self.output, self.new)
            elif not same_result(self.output, self.new):
                stop("two full runs gave different bytes")
        self.names = set(os.listdir(self.parent))
        self.seconds = statistics.median(e.seconds for e in ended)
        self.full_read = min(e.read for e in ended)
        make_old(self.new, self.old)

    def fault(self, number, text):
        self.faults.append(f"kill {number}: {text}")

    def look(self, number, has_old):
        """What the destination is after a kill: 'old', 'new', 'none', or a fault."""
        if same_result(self.output, self.new):
            return "new"
        if list_files(self.output) is None:
            if has_old:
                self.fault(number, "the old result is gone and the new one is not there")
            return "none"
        if has_old and same_result(self.output, self.old):
            return "old"
        self.fault(number, f"{self.options.output} is neither the old result nor the new one")
        return "torn"

    def round(self, number, after):
        has_old = number % 2 == 1
        remove(self.output)
        if has_old:
            copy(self.old, self.output)
        killed = run(self.options.command, after)
        if killed.status not in (0, -signal.SIGKILL):
            self.fault(number, f"status {killed.status} before it was killed:\n{killed.text}")
        state = self.look(number, has_old)
        again = run(self.options.command)
        if again.status:
            self.fault(number, f"the run after it failed, status {again.status}:\n{again.text}")
        elif not same_result(self.output, self.new):
            self.fault(number, "the run after it gave other bytes")
        strays = sorted(set(os.listdir(self.parent)) - self.names)
        if strays:
            self.fault(number, "left behind: " + ", ".join(strays))
            for name in strays:
                remove(os.path.join(self.parent, name))
        return Round(after, killed.status == -signal.SIGKILL, state, again.read, again.read < self.full_read)


class Round:
    def __init__(self, after, is_inside, state, read, is_fewer):
        self.after, self.is_inside, self.state, self.read, self.is_fewer = after, is_inside, state, read, is_fewer


# ---- report ----


def print_table(rounds, full_read):
    """A line for each tenth of the run time."""
    print("   killed after    kills  inside   old  none   new   read again, % of a full run   fewer")
    count = len(rounds)
    for part in range(10):
        group = rounds[count * part // 10 : count * (part + 1) // 10]
        if not group:
            continue
        states = [r.state for r in group]
        reads = [100 * r.read / full_read for r in group]
        print(
            f"  {group[0].after:6.2f}-{group[-1].after:5.2f} s {len(group):6} {sum(r.is_inside for r in group):7} "
            f"{states.count('old'):5} {states.count('none'):5} {states.count('new'):5}"
            f"   median {statistics.median(reads):5.1f} ({min(reads):5.1f}-{max(reads):5.1f}) "
            f"{sum(r.is_fewer for r in group):7}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, help="what the program writes")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3, help="full runs before (3)")
    parser.add_argument("--inside", type=int, default=80, metavar="PERCENT")
    parser.add_argument("--fewer", type=int, default=60, metavar="PERCENT")
    parser.add_argument("--scratch", help="a folder for copies of the results, on any file system")
    parser.add_argument("command", nargs="+", metavar="EXE ARGUMENTS")
    options = parser.parse_args()
    if options.kills < 1 or options.runs < 1:
        parser.error("--kills and --runs are at least 1")
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        rounds = Rounds(options, scratch)
        rounds.measure()
        print(f"a full run: {rounds.seconds:.2f} s, reads {rounds.full_read} bytes", flush=True)
        done = []
        for number in range(options.kills):
            done.append(rounds.round(number, rounds.seconds * (number + 0.5) / options.kills))
    print_table(done, rounds.full_read)
    inside, fewer = sum(r.is_inside for r in done), sum(r.is_fewer for r in done)
    print(
        f"{inside} of {options.kills} landed inside, {fewer} of {options.kills} read fewer bytes afterwards, "
        f"{len(rounds.faults)} faults"
    )
    for fault in rounds.faults:
        print("fault: " + fault)
    is_good = not rounds.faults
    for what, number, percent in [("landed inside", inside, options.inside), ("read fewer", fewer, options.fewer)]:
        if number * 100 < percent * options.kills:
            print(f"only {number} {what}, wanted {percent} % of {options.kills}")
            is_good = False
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
