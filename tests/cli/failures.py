#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What goes wrong around a run: one line says it, before the work where it can be known, and nothing is lost.

Each case runs an executable (or, where a system call is made to fail, `cmpc run`) and compares the message, what the
destination is then, and what lies beside it. After a failure in the middle the next run must give the right bytes and
leave nothing behind.
"""
import errno
import fcntl
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from testing import CMPC, TOP, bytes_of, check, finish, write_text

MAKE = [sys.executable, os.path.join(TOP, "tests", "data", "make_checkpoint.py"), "--size", "8MiB"]
NOBODY = 65534


class Place:
    """A folder with checkpoints, programs built for them, and their right results."""

    def __init__(self, path):
        self.path = path
        self.bench = os.path.join(path, "out")
        os.chmod(path, 0o755)
        os.mkdir(self.bench)
        subprocess.run([*MAKE, "--format", "gguf", "--dtype", "f16", self.at("in.gguf")], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*MAKE, "--format", "safetensors", "--dtype", "bf16", "--shards", "2", self.at("in")], check=True,
                       stdout=subprocess.DEVNULL)
        for name, model, save in (("file", "in.gguf", "a.gguf"), ("folder", "in", "a")):
            write_text(self.at(name + ".cmp"), f'model m from "{self.at(model)}"\npipeline p of m {{\n'
                       f'  quantize.rtn(dtype: iq4_nl) on rest\n  save "{save}"\n}}\n')
            subprocess.run([CMPC, "build", self.at(name + ".cmp"), "-o", self.at(name)], check=True)
            self.run(name, "--output", self.at("right-" + save))
        self.right = bytes_of(self.at("right-a.gguf"))

    def at(self, *names):
        return os.path.join(self.path, *names)

    def out(self, name):
        return os.path.join(self.bench, name)

    def command(self, name, *options):
        return [self.at(name), "--quiet", "--threads", "2", *options]

    def run(self, name, *options, **keys):
        return subprocess.run(self.command(name, *options), stderr=subprocess.PIPE, text=True, check=False, **keys)

    def listing(self):
        return sorted((os.path.relpath(os.path.join(at, name), self.bench)) for at, _, names in os.walk(self.bench) for name in names)

    def clear(self):
        shutil.rmtree(self.bench)
        os.mkdir(self.bench)

    def refused(self, what, message, done, before):
        """One line, and the folder is as it was."""
        told = done.stderr.replace(self.path, "T")
        check(done.returncode == 1 and re.fullmatch("error: " + message + "\n", told) and self.listing() == before,
              what, f"status {done.returncode}: {told}", f"expected: {message}", f"files: {self.listing()}, before: {before}")

    def resumes(self, what, name="file", result="a.gguf"):
        done = self.run(name, "--output", self.out(result))
        check(done.returncode == 0 and self.listing() == [result] and bytes_of(self.out(result)) == self.right,
              what + ", then run again", done.stderr, str(self.listing()))
        self.clear()


# ---- before the work ----


def check_overlaps(p):
    def copy(to):
        shutil.copyfile(p.at("in.gguf"), p.out(to))

    copy("in.gguf")
    os.symlink("in.gguf", p.out("soft.gguf"))
    os.link(p.out("in.gguf"), p.out("hard.gguf"))
    before = p.listing()
    for to in ("in.gguf", "soft.gguf", "hard.gguf"):
        done = p.run("file", "--model", p.out("in.gguf"), "--output", p.out(to), "--force")
        p.refused(f"output {to}, the input", "output T/out/(in|hard).gguf is the input file T/out/in.gguf; choose another name",
                  done, before)
    p.clear()
    shutil.copytree(p.at("in"), p.out("in"))
    before = p.listing()
    for to in ("in/new", "in/./../in/new"):
        p.refused(f"output {to}, in the input folder", "output T/out/\\S+ lies in the input folder T/out/in; choose another place",
                  p.run("folder", "--model", p.out("in"), "--output", p.out(to)), before)
    p.refused("output that holds the input", "output folder T/out holds the input T/out/in/model-\\S+; choose another name",
              p.run("folder", "--model", p.out("in"), "--output", p.bench, "--force"), before)
    p.refused("output that is the input folder", "output T/out/in is the input file T/out/in; choose another name",
              p.run("folder", "--model", p.out("in"), "--output", p.out("in"), "--force"), before)
    p.clear()


def check_places(p):
    os.mkdir(p.out("a.gguf"))
    os.mkdir(p.out("b"))
    for name in ("c.gguf", "b/notes"):
        write_text(p.out(name), "my notes\n")
    before = p.listing()
    p.refused("no folder", "output T/out/no/a.gguf: there is no folder T/out/no", p.run("file", "--output", p.out("no/a.gguf")), before)
    p.refused("a folder in the place of a file", "output T/out/a.gguf exists and is a folder; this program writes one file",
              p.run("file", "--output", p.out("a.gguf"), "--force"), before)
    p.refused("a file in the place of a folder", "output T/out/c.gguf: this program writes safetensors; the name must end in \"\\.safetensors\"",
              p.run("folder", "--output", p.out("c.gguf")), before)
    p.refused("somebody's file", "output T/out/c.gguf exists and is not a checkpoint; --force overwrites it",
              p.run("file", "--output", p.out("c.gguf")), before)
    shutil.copyfile(p.at("in.gguf"), p.out("d.gguf"))
    shutil.copytree(p.at("in"), p.out("e"))
    before = p.listing()
    p.refused("somebody's checkpoint", "output T/out/d.gguf exists and was not written by cmpc; --force overwrites it",
              p.run("file", "--output", p.out("d.gguf")), before)
    p.refused("somebody's folder of a checkpoint", "output T/out/e exists and was not written by cmpc; --force overwrites it",
              p.run("folder", "--output", p.out("e")), before)
    p.refused("somebody's folder", "output folder T/out/b holds \"notes\", which the new output does not replace; --force replaces the "
              "whole folder", p.run("folder", "--output", p.out("b")), before)
    p.clear()
    if os.getuid() == 0:
        os.chmod(p.bench, 0o555)
        p.refused("a folder that may not be written to", "output T/out/a.gguf: cannot write to folder T/out: Permission denied",
                  p.run("file", "--output", p.out("a.gguf"), user=NOBODY, group=NOBODY), [])
        os.chmod(p.bench, 0o755)


def check_room(p):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    p.refused("files of at most 1 MiB", "cannot reserve the space of T/out/\\.a\\.gguf\\.cmpc-partial: File too large",
              p.run("file", "--output", p.out("a.gguf"), preexec_fn=limited), [])
    if os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", p.bench],
                                           stderr=subprocess.DEVNULL, check=False).returncode == 0:
        try:
            p.refused("a disk of 1 MiB", "not enough space in T/out: the output needs \\S+ MiB \\(\\d+ bytes\\), \\S+ MiB are free",
                      p.run("file", "--output", p.out("a.gguf")), [])
        finally:
            subprocess.run(["umount", p.bench], check=True)


def check_inputs(p):
    shutil.copyfile(p.at("in.gguf"), p.at("other.gguf"))
    os.truncate(p.at("other.gguf"), os.path.getsize(p.at("in.gguf")) - 1)
    p.refused("an input cut after planning", "T/other.gguf: tensor \"[a-z0-9_.]+\": its data end at byte \\d+, the file at \\d+",
              p.run("file", "--model", p.at("other.gguf"), "--output", p.out("a.gguf")), [])
    os.truncate(p.at("other.gguf"), 100)
    p.refused("an input cut in its header", "T/other.gguf: byte \\d+: .*",
              p.run("file", "--model", p.at("other.gguf"), "--output", p.out("a.gguf")), [])
    p.refused("an input that is gone", "T/gone.gguf: could not open: No such file or directory; --model PATH says where it is",
              p.run("file", "--model", p.at("gone.gguf"), "--output", p.out("a.gguf")), [])
    p.refused("an input of another format", "T/in is a safetensors checkpoint; this program was built for gguf",
              p.run("file", "--model", p.at("in"), "--output", p.out("a.gguf")), [])


def check_busy(p):
    done = p.run("file", "--output", p.out("a.gguf"), "--no-sync")
    assert done.returncode == 0
    with open(p.out(".a.gguf.cmpc-journal"), "wb") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        p.refused("another run at the same place", "another run is writing T/out/a.gguf at this moment",
                  p.run("file", "--output", p.out("a.gguf")), p.listing())
    p.clear()


# ---- in the middle ----


def check_weights(p):
    for name, bits in (("NaN", 0x7E00), ("infinity", 0xFC00)):
        shutil.copyfile(p.at("in.gguf"), p.at("other.gguf"))
        with open(p.at("other.gguf"), "r+b") as file:
            file.seek(-2 * 1000, os.SEEK_END)
            file.write(struct.pack("<H", bits))
        done = p.run("file", "--model", p.at("other.gguf"), "--output", p.out("a.gguf"))
        told = done.stderr.replace(p.path, "T")
        message = ('error: tensor "[a-z0-9_.]+": element \\[\\d+, \\d+\\] is NaN or infinite \\(number \\d+\\); --nonfinite=zero or '
                   "--nonfinite=keep goes on\n")
        check(done.returncode == 1 and re.fullmatch(message, told) and not os.path.exists(p.out("a.gguf")), name, told)
        for way in ("keep", "zero"):
            done = p.run("file", "--model", p.at("other.gguf"), "--output", p.out("a.gguf"), "--nonfinite", way)
            check(done.returncode == 0 and p.listing() == ["a.gguf"], f"{name}, {way}", done.stderr)
        p.clear()


def check_changed(p):
    """Somebody writes to the input while it is read."""
    shutil.copyfile(p.at("in.gguf"), p.at("other.gguf"))
    for what, change in (("written to", os.utime), ("cut", lambda path: os.truncate(path, 100))):
        for _ in range(5):  # the run may be over before it is stopped
            with subprocess.Popen(p.command("file", "--model", p.at("other.gguf"), "--output", p.out("a.gguf")),
                                  stderr=subprocess.PIPE, text=True) as process:
                while process.poll() is None and not os.path.exists(p.out(".a.gguf.cmpc-partial")):
                    time.sleep(0.0005)
                process.send_signal(signal.SIGSTOP)
                change(p.at("other.gguf"))
                process.send_signal(signal.SIGCONT)
                told = process.communicate()[1].replace(p.path, "T")
            if process.returncode:
                break
            p.clear()
        check(process.returncode == 1 and p.listing() == [] and
              told == "error: input T/other.gguf was written to while it was read; nothing was saved, run it again\n",
              f"an input {what} during the run", told, str(p.listing()))
    p.clear()


def build_fault(p):
    library = p.at("fault.so")
    source = os.path.join(TOP, "tests", "cli", "fault.c")
    done = subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], stderr=subprocess.PIPE, text=True, check=False)
    probe = subprocess.run([CMPC, "--version"], env={**os.environ, "LD_PRELOAD": library}, capture_output=True, check=False)
    return library if done.returncode == 0 and probe.returncode == 0 else None


def check_faults(p):
    library = build_fault(p)
    if not library:  # no cc, or a sanitizer that must come first
        print("skip system calls that fail")
        return
    cases = [
        ("pread", errno.EIO, 4, "T/in.gguf: could not read \\d+ bytes at byte \\d+: Input/output error"),
        ("pwrite", errno.EIO, 4, "cannot write T/out/a.gguf: Input/output error"),
        ("pwrite", errno.ENOSPC, 6, "cannot write T/out/a.gguf: No space left on device"),
        ("fallocate", errno.ENOSPC, 1, "cannot reserve the space of T/out/\\.a\\.gguf\\.cmpc-partial: No space left on device"),
        ("fsync", errno.EIO, 1, "cannot write \\S+: Input/output error"),
        ("rename", errno.EACCES, 1, "cannot replace T/out/a.gguf: Permission denied"),
    ]
    for call, code, number, message in cases:
        what = f"{call} fails with {errno.errorcode[code]}"
        version = struct.pack("<Q12sIQ3s", 12, b"cmpc.version", 8, 3, b"old")
        old = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + version
        old += bytes(-len(old) % 32)
        with open(p.out("a.gguf"), "wb") as file:
            file.write(old)
        done = subprocess.run([CMPC, "run", p.at("file.cmp"), "--quiet", "--threads", "2", "--output", p.out("a.gguf")],
                              env={**os.environ, "LD_PRELOAD": library, "FAULT": f"{call}:{code}:{number}"},
                              stderr=subprocess.PIPE, text=True, check=False)
        told = done.stderr.replace(p.path, "T")
        check(done.returncode == 1 and re.fullmatch("error: " + message + "\n", told) and bytes_of(p.out("a.gguf")) == old,
              what, f"status {done.returncode}: {told}", f"expected: {message}")
        p.resumes(what)


def main():
    with tempfile.TemporaryDirectory() as work:
        place = Place(work)
        for checks in (check_overlaps, check_places, check_room, check_inputs, check_busy, check_weights, check_changed,
                       check_faults):
            checks(place)
    finish("failures")


if __name__ == "__main__":
    main()
