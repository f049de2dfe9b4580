"""Compiles a program of XLA for an H100 on a machine without a GPU, for `gpu_program.py`.

`python gpu_compiler.py PROGRAM` reads a serialized HLO module and prints a JSON line. TensorFlow compiles for GPUs only
where one is; JAX brings the same compiler, which needs no more than the description of a card. It is another build: JAX
0.9.0 has all but 4 of the 272 flags for GPUs of TensorFlow 2.21, no others, and CUDA 12.9. Nothing is timed: cuDNN and
cuBLAS choose their algorithms on a card.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  memory_bandwidth: 3350000000000
  device_memory_size: 84929347584
}
platform_name: "CUDA"
runtime_version { major: 12 minor: 9 }
dnn_version_info { major: 9 minor: 7 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
"""An H100 as CUDA describes it, a `GpuTargetConfigProto` of XLA."""

BITS = {"pred": 8, "bf16": 16}
"""The bits of the types whose names do not end with them."""

NO_KERNEL = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "iota")
"""The operations for which no kernel runs."""


@dataclass(frozen=True)
class Operation:
    """A line of a compiled program.

    Attributes:
        name: its name, which others name as their operand.
        shape: the text of its shape; of several results, of all of them.
        kind: such as `fusion`; of a library's kernel its name.
        operands: the names of what it takes.
        line: the whole line.
    """

    name: str
    shape: str
    kind: str
    operands: tuple[str, ...]
    line: str

    @property
    def num_bytes(self) -> int:
        """The size of the results."""
        total = 0
        for kind, sides in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", self.shape):
            size = BITS.get(kind) or int(re.search(r"\d+", kind)[0])
            for side in filter(None, sides.split(",")):
                size *= int(side)
            total += size // 8
        return total


def operations_of(program: str) -> tuple[dict[str, list[Operation]], str]:
    """Returns the operations of each computation of a compiled program, and the name of the first one that runs."""
    computations: dict[str, list[Operation]] = defaultdict(list)
    name = entry = ""
    for line in program.splitlines():
        if begun := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            name = begun[2]
            entry = name if begun[1] else entry
        elif name and (found := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][a-z\-]*)\(", line)):
            target = re.search(r'custom_call_target="([^"]+)"', line)
            operands = tuple(re.findall(r"%([\w.\-]+)", line[found.end() :].partition(")")[0]))
            computations[name].append(Operation(found[1], found[2], target[1] if target else found[3], operands, line))
    return computations, entry


def kernels_of(computations: dict[str, list[Operation]], name: str) -> Iterator[Operation]:
    """Yields the operations of a computation, and of those that it calls, for each of which a kernel runs.

    Raises:
        ValueError: there is a loop or a choice in it, so that the number depends on what is computed.
    """
    for operation in computations[name]:
        if operation.kind in ("while", "conditional"):
            raise ValueError(f"expected a step without {operation.kind}, found {operation.name}")
        if operation.kind == "call":
            for called in re.findall(r"(?:to_apply|calls)=%?([\w.\-]+)", operation.line):
                yield from kernels_of(computations, called)
        elif operation.kind not in NO_KERNEL:
            yield operation


def step_of(program: str) -> dict[str, Any]:
    """Describes what runs in each step: the body of the loop over steps, or all of a program without a loop.

    The operands and results of kernels count as a whole: the images that the device holds, though a step takes few of
    them, and the room that a library asks for.
    """
    computations, entry = operations_of(program)
    loops = (re.search(r" while\(.*body=%?([\w.\-]+)", each.line) for each in computations[entry])
    kernels = list(kernels_of(computations, next((loop[1] for loop in loops if loop), entry)))
    sizes = {each.name: each.num_bytes for lines in computations.values() for each in lines}
    moved = sum(each.num_bytes + sum(sizes[name] for name in each.operands) for each in kernels)
    kinds = Counter(re.sub(r"\W+", " ", each.kind).strip() for each in kernels)
    return {
        "kernels": len(kernels),
        "of": dict(kinds.most_common()),
        "operands_mb": round(moved / 1e6, 1),
    }


def compile_program(module: bytes) -> dict[str, Any]:
    """Compiles a serialized HLO module, and describes the result."""
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import _jax, xla_client
    from jax.experimental import topologies
    from jaxlib.mlir import ir

    (device, *_) = topologies.get_topology_desc("", "cuda", target_config=H100, topology="1x1x1").devices
    with mlir.make_ir_context():
        text = str(ir.Module.parse(_jax.mlir.xla_computation_to_mlir_module(xla_client.XlaComputation(module))))
        # A copy, which JAX does not know, is as good as a reshape to the same shape.
        text = re.sub(r"mhlo\.copy (%\S+)(?: \{[^}]*\})? : (tensor<[^>]*>)", r"stablehlo.reshape \1 : (\2) -> \2", text)
        parsed, options = ir.Module.parse(text), compiler.get_compile_options(num_replicas=1, num_partitions=1)
        begun = time.perf_counter()
        executable = device.client.compile(
            parsed, executable_devices=xla_client.DeviceList((device,)), compile_options=options
        )
        compile_s = time.perf_counter() - begun
    memory = executable.get_compiled_memory_stats()
    programs = executable.hlo_modules()
    return {
        "programs": len(programs),
        **step_of(programs[0].to_string()),
        "compile_s": round(compile_s, 1),
        "memory_mb": round((memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 1e6, 1),
    }


if __name__ == "__main__":
    print(json.dumps(compile_program(Path(sys.argv[1]).read_bytes())))
