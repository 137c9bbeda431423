#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cmpc repl at a terminal: the prompt, completion with TAB, history, ^D; wrong entries do not make it fail."""
import os
import pty
import select
import subprocess
import sys
import termios
import time

MODEL = os.path.join(os.environ["TOP_SRCDIR"], "examples", "tiny-llama")
LIMIT = 60  # seconds for one answer


class Terminal:
    def __init__(self):
        try:
            self.end, other = pty.openpty()
        except OSError as reason:  # as where /dev/pts is not mounted
            print(f"skipped: there is no terminal to be had here: {reason}")
            sys.exit(77)
        environment = dict(os.environ, TERM="vt100", NO_COLOR="1", HOME="/nonexistent", EDITRC="/dev/null")
        # libedit keeps two names of key bindings until the process ends; the other tests look for leaks of our own
        environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        self.process = subprocess.Popen(
            [os.environ["CMPC"], "repl"], stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True)
        os.close(other)
        self.seen = ""

    def expect(self, text):
        """Reads until text was printed."""
        until = time.monotonic() + LIMIT
        while text not in self.seen:
            ready, _, _ = select.select([self.end], [], [], max(0, until - time.monotonic()))
            try:
                more = os.read(self.end, 4096) if ready else b""
            except OSError:  # how a terminal ends
                more = b""
            if not more:
                sys.exit(f"expected {text!r}, got {self.seen!r}")
            self.seen += more.decode(errors="replace")
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def type(self, text):
        """Types once the line is edited: the prompt is printed a moment before, when ^D still is the terminal's own."""
        until = time.monotonic() + LIMIT
        while termios.tcgetattr(self.end)[3] & termios.ICANON and time.monotonic() < until:
            time.sleep(0.001)
        os.write(self.end, text.encode())


t = Terminal()
t.expect("help lists the commands")
t.expect("cmpc> ")
t.type(f'model "{MODEL}"\n')
t.expect("1,935,104 parameters")
t.expect("cmpc> ")
t.type("try prune.magn\t")  # one continuation: it is inserted
t.expect("itude")
t.type('(sparsity: 50%) on "model.layers.0.self_attn.q\t"\n')
t.expect("0.273079")
t.expect("cmpc> ")
t.type("quantize.rtn(dtype: q8_0) on\n")
t.expect("..> ")  # the entry goes on
t.type("attn_q\n")
t.expect("changes 10 of 30 tensors")  # GGUF: the norms become f32
t.expect("cmpc> ")
t.type("undo\n")
t.expect("forgot: quantize.rtn")
t.expect("cmpc> ")
t.type("prune.nm on\n")
t.expect("..> ")
t.type("no more of this\x03")  # ^C: the whole entry is dropped, the session goes on
t.expect("^C")
t.expect("cmpc> ")
t.type("mod\t\t")  # several: the words are listed
t.expect("model.layers.2.mlp.up_proj.weight")
t.type(f'\x15model "{MODEL}/tok\t')  # ^U: the line is cleared; a file
t.expect("enizer.json")
t.type("\x15run\n")
t.expect("cmpc run FILE")
t.expect("cmpc> ")
t.type("nothing\n")
t.expect("unknown pass or recipe")
t.expect("cmpc> ")
t.type("\x10\x10\x10\x10\n")  # ^P: from the history
t.expect("forgot: model")
t.expect("cmpc> ")
t.type("\x04")
status = t.process.wait(timeout=LIMIT)
if status != 0:
    sys.exit(f"exit {status}")
