#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Executables for ARM, linked with Debian's cross compiler and run by QEMU, give what those for this CPU give."""
import os
import shutil

from machines import Machine, compare
from testing import skip

TRIPLE = "aarch64-linux-gnu"

if not os.path.exists(os.path.join(os.environ["TOP_BUILDDIR"], TRIPLE, "libcmprt.a")):
    skip("this build has no runtime for ARM: ./configure --with-runtimes=x86_64,aarch64")
if not shutil.which(TRIPLE + "-gcc"):
    skip(f"no {TRIPLE}-gcc: apt-get install gcc-aarch64-linux-gnu")
emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
if not emulator:
    skip("no qemu-aarch64-static: apt-get install qemu-user-static")
compare([
    Machine("pi", "cortex-a72", TRIPLE, [emulator, "-cpu", "cortex-a72"]),
    Machine("server", "neoverse-v1", TRIPLE, [emulator, "-cpu", "max"], pipelines=["blocks"]),  # SVE
])
