# SPDX-License-Identifier: MIT
"""For levels.py and aarch64.py: programs built for several CPUs and run; what comes out is that of the native CPU.

Pipelines that call no BLAS give the same bytes. In the others sums may differ in last bits, and a code that lies on
an edge goes the other way: each error that they report, a fraction of the tensor's norm, agrees to ERRORS_AGREE.
"""
import filecmp
import json
import os
import subprocess
import sys
import tempfile

from testing import CMPC, EXAMPLES, TOP

ERRORS_AGREE = 1e-5

# program, pipeline, what it saves, whether its bytes are the same everywhere
CASES = [
    ("tests/cli/machines.cmp", "blocks", "gguf", True),
    ("tests/cli/machines.cmp", "channels", "folder", True),
    ("tests/cli/machines.cmp", "factors", "folder", False),
    ("tests/cli/machines.cmp", "feedback", "gguf", False),
    ("examples/demo.cmp", "demo", "gguf", True),
    ("examples/stranger/stranger.cmp", "stranger", "folder", True),
    ("examples/global_magnitude/global_magnitude.cmp", "global_magnitude", "folder", True),
]


class Machine:
    """A CPU and what runs its programs here: nothing, or an emulator. Without a cpu: what compiles."""

    def __init__(self, name, cpu=None, triple=None, emulator=(), pipelines=None):
        self.name, self.cpu, self.triple = name, cpu, triple
        self.emulator, self.pipelines = list(emulator), pipelines

    def declaration(self):
        """Without `dtypes`: what the result can be executed on is not the question here."""
        triple = f'triple "{self.triple}"' if self.triple else ""
        return f'target {self.name} {{ cpu "{self.cpu}" {triple} }}\n' if self.cpu else ""


def copy_programs(folder, machines):
    """A copy of the programs that declares the machines, with the rows that `feedback` reads."""
    subprocess.run(["cp", "-r", "--no-preserve=mode", EXAMPLES, folder], check=True)
    os.makedirs(os.path.join(folder, "tests", "cli"))
    for program in sorted({case[0] for case in CASES}):
        with open(os.path.join(TOP, program)) as file:
            text = file.read()
        with open(os.path.join(folder, program), "w") as file:
            file.write(text + "\n" + "".join(machine.declaration() for machine in machines))
    subprocess.run(
        [sys.executable, os.path.join(folder, "examples", "gptq_from_h", "calibrate.py"),
         os.path.join(folder, "tests", "cli", "calibration.safetensors"),
         os.path.join(folder, "examples", "tiny-llama"), "512"],
        check=True, stdout=subprocess.DEVNULL)


def run_on(machine, folder, case):
    """The output's path and the reported errors by tensor."""
    program, pipeline, kind, _ = case
    made = os.path.join(folder, f"{pipeline}-{machine.name}")
    target = ["--target", machine.name] if machine.cpu else []
    subprocess.run([CMPC, "build", os.path.join(folder, program), "-p", pipeline, "-o", made + "-exe", *target], check=True)
    output = made + (".gguf" if kind == "gguf" else "")
    ran = subprocess.run(
        [*machine.emulator, made + "-exe", "--output", output, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    os.unlink(made + "-exe")
    report = json.loads(ran.stdout.splitlines()[-1])
    return output, {tensor["tensor"]: tensor["relative_error"] for tensor in report["tensors"]}


def files_of(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else [""]


def same_bytes(a, b):
    names = files_of(a)
    return names == files_of(b) and all(
        filecmp.cmp(os.path.join(a, name) if name else a, os.path.join(b, name) if name else b, shallow=False)
        for name in names)


def furthest(a, b):
    """The largest difference of two errors of one tensor, infinite if not the same tensors have one."""
    if {name for name in a if a[name] is not None} != {name for name in b if b[name] is not None}:
        return float("inf")
    return max((abs(a[name] - b[name]) for name in a if a[name] is not None), default=float("inf"))


def compare(machines):
    """Runs every case on every machine; exits with 1 if one differs from the native run."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        copy_programs(folder, machines)
        for case in CASES:
            pipeline, is_exact = case[1], case[3]
            wanted, wanted_errors = run_on(Machine("native"), folder, case)
            for machine in machines:
                if machine.pipelines and pipeline not in machine.pipelines:
                    continue
                got, errors = run_on(machine, folder, case)
                is_same = same_bytes(wanted, got)
                distance = 0.0 if is_exact else furthest(wanted_errors, errors)
                is_good = is_same if is_exact else distance <= ERRORS_AGREE
                failed |= not is_good
                said = "same bytes" if is_same else "other bytes" if is_exact else f"errors agree to {distance:.1e}"
                print(f"{'ok  ' if is_good else 'FAIL'} {pipeline} on {machine.name}: {said}", flush=True)
    sys.exit(failed)
