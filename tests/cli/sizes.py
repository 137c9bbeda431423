#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The size that `cmpc plan` says, for every pipeline of the examples and every form of output: one safetensors file, a
folder in shards, as the model is, GGUF. To the byte, unless extents depend on data: then at
most that, and what the run says at its resolve point. A number format that the file format cannot hold is refused by
the plan with the run's own words."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

CMPC = os.environ["CMPC"]
EXAMPLES = os.path.join(os.environ["TOP_SRCDIR"], "examples")
SHARED = os.path.abspath(os.path.join(os.environ["TOP_SRCDIR"], "..", "shared"))
SHARDS = 3
OUTPUTS = {"file": "out.safetensors", "folder": "out", "gguf": "out.gguf"}
PREPARE = {"gptq_from_h": ["calibrate.py"], "para": ["make_adapter.py", "adapter.safetensors"]}
# by the plan, and by the run where it is decided that nothing stays of a tensor
REFUSED = {("own_net", "own_net", "gguf"): "gguf has no form for that",
           ("gptq_from_h", "ternary", "gguf"): "becomes ternary, which gguf cannot hold",
           ("stranger", "stranger", "gguf"): "becomes ternary, which gguf cannot hold"}
REFUSED_LATE = {("para", "cut", "gguf"): "cannot be F16 [0, 96]: a dimension is 0"}

# of many pipelines for one model one form says enough, and those with a pass or dtype that none above has
ONLY = {"compare": "file", "stories": "file"}


def call(*arguments, **options):
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **options)


def shard(folder):
    """The folder's one file in three."""
    path = os.path.join(folder, "model.safetensors")
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    os.remove(path)
    header.pop("__metadata__", None)
    names, index = sorted(header), {}
    for i in range(SHARDS):
        part, rows = b"", {}
        file_name = f"model-{i + 1:05}-of-{SHARDS:05}.safetensors"
        for name in names[i::SHARDS]:
            begin, end = header[name]["data_offsets"]
            rows[name] = dict(header[name], data_offsets=[len(part), len(part) + end - begin])
            part += data[begin:end]
            index[name] = file_name
        text = json.dumps(rows).encode()
        with open(os.path.join(folder, file_name), "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text + part)
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": index}, file)


def size_of(path):
    if os.path.isfile(path):
        return 1, os.path.getsize(path)
    files = [os.path.join(path, name) for name in os.listdir(path) if name.endswith(".safetensors")]
    return len(files), sum(map(os.path.getsize, files))


def pipelines_of(example, text):
    """Names; of an example with many those that say something new."""
    known = set()
    for body in re.split(r"^(?=pipeline )", text, flags=re.M)[1:]:
        said = set(re.findall(r"[\w.]+(?=\(| +on )|(?:dtype: *)\w+", body))
        if example not in ONLY or said - known:
            yield re.match(r"pipeline (\w+)", body)[1]
        known |= said


def remove(path):
    shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)


def problem(key, program, pipeline, output, shards):
    planned, done = (call(CMPC, command, program, "-p", pipeline) for command in ("plan", "run"))
    if key in REFUSED or key in REFUSED_LATE or done.returncode or planned.returncode:
        early, late = REFUSED.get(key), REFUSED.get(key) or REFUSED_LATE.get(key)
        is_good = (early in planned.stderr if early else not planned.returncode) and late and late in done.stderr
        is_good = is_good and done.stderr.count("error:") == 1 and not os.path.exists(output)
        return None if is_good else f"plan: {planned.stderr or 'goes'}, run: {done.stderr or 'goes'}"
    files, size = size_of(output)
    most = re.search(r"^# output: (at most )?(\d+) bytes .* in (\d+) files?", planned.stdout, re.M)
    if not most or int(most[3]) != files or files != shards:
        return f"{files} files, expected {shards}; the plan says {most and most[0]}"
    if not most[1]:
        return None if int(most[2]) == size else f"{size} bytes, the plan says {most[0]}"
    said = re.search(r"^output: .*?(\d+) bytes$", done.stdout, re.M)
    if not said or int(said[1]) != size or size > int(most[2]):
        return f"{size} bytes, the plan says {most[0]}, the run {said and said[0]}"
    return None


def check_example(folder, name, shards):
    """Every pipeline of one example, to every output."""
    path = os.path.join(folder, name)
    with open(path) as file:
        lines = [line for line in file.read().split("\n") if not line.startswith("#")]
    text, example, bad, count = "\n".join(lines).replace("../../../shared", SHARED), name[:-4], 0, 0
    if SHARED in text and not os.path.isdir(SHARED):
        return 0, 0
    is_tiny = re.search(r'^model .*tiny-llama"', text, re.M) is not None
    if shards > 1 and not is_tiny:
        return 0, 0
    for kind, output in OUTPUTS.items():
        if (is_tiny and (shards > 1) != (kind == "folder")) or ONLY.get(example, kind) != kind:
            continue
        wanted = shards if kind == "folder" else 1
        changed = re.sub(r'save "[^"]*"', f'save "{output}"', text)
        changed = re.sub(r"window \d+  samples \d+", "window 16  samples 2", changed)  # no size depends on them
        with open(path, "w") as file:
            file.write(changed)
        for pipeline in pipelines_of(example, text):
            key = (example, pipeline, kind)
            found = problem(key, name, pipeline, output, wanted)
            print(f"{'FAIL' if found else 'ok  '} {' '.join(key)}, model in {shards}: {found or ''}")
            bad += found is not None
            count += 1
            remove(output)
    with open(path, "w") as file:
        file.write(text)
    return count, bad


def main():
    count = bad = 0
    with tempfile.TemporaryDirectory() as work:
        top = os.path.join(work, "examples")
        shutil.copytree(EXAMPLES, top)
        for example, script in PREPARE.items():
            folder = os.path.join(top, example)
            subprocess.run([sys.executable, *script], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for shards in (1, SHARDS):
            if shards > 1:
                shard(os.path.join(top, "tiny-llama"))
            for folder, _, names in sorted(os.walk(top)):
                for name in sorted(names):
                    if name.endswith(".cmp"):
                        os.chdir(folder)
                        tried, failed = check_example(folder, name, shards)
                        count, bad = count + tried, bad + failed
        os.chdir("/")
    print(f"{count} cases, {bad} bad")
    return not count or bad > 0


sys.exit(main())
