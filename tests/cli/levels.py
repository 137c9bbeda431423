#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Executables for the x86-64 levels that this CPU has give what one for the CPU itself gives."""
import platform
import shutil

from machines import Machine, compare
from testing import skip

# A feature of each level that the one below lacks, as /proc/cpuinfo calls it.
LEVELS = [("level2", "x86-64-v2", "sse4_2"), ("level3", "x86-64-v3", "avx2"), ("level4", "x86-64-v4", "avx512vl")]

if platform.machine() != "x86_64":
    skip("this machine is no x86-64")
with open("/proc/cpuinfo") as file:
    flags = next(line for line in file if line.startswith("flags")).split()
machines = [Machine(name, cpu) for name, cpu, feature in LEVELS if feature in flags]
emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
if emulator:  # a CPU without AVX: no instruction of it may have slipped in
    machines.append(Machine("nehalem", "x86-64-v2", emulator=[emulator, "-cpu", "Nehalem"], pipelines=["blocks"]))
compare(machines)
