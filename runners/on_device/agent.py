"""The program that runs models on a device: one file, the standard library, NumPy and an engine; Python 3.9 or later.

A transport copies it to the device and starts it; on this machine it is started the same way, as a child process, so
that a file that crashes the engine takes nothing else down. It imports nothing of the project.

    python agent.py infer  --model FILE --nonce TEXT --inputs IN.npy --outputs OUT.npy [--threads N]
                           [--tensors NAMES.json --tensors-out KEPT.npz] [--no-xnnpack] [--no-optimizer]
                           [--engine litert|tflite-runtime|onnxruntime]
    python agent.py time   --model FILE --nonce TEXT [--engine, as for infer]
                           [--delegate default|none] [--threads N] [--affinity 0,1] [--session-option KEY=VALUE ...]
                           [--warmup-count N] [--warmup-s S] [--block-s S] [--min-count N] [--max-count N]
    python agent.py layers --model FILE --nonce TEXT [--runs N] [--warmup-count N]
                           [--engine, --delegate, --threads, --affinity, --session-option: as for time]
    all of them            [--deadline-s S] [--pid-file FILE]

Its first bytes say what a file is: a .tflite runs with LiteRT (`ai-edge-litert`, or `tflite-runtime` where only that
is installed), a .onnx or .ort with ONNX Runtime. --engine insists on one of them.

Standard output is JSON Lines: `start` with the engine and its version, and as the last line `end` with the nonce and
the count. Without that last line the run failed. What engines print goes to standard error. An error is one line
`error` with its kind, a message and the engine that was asked for, and the exit status 1.

Standard input is the watchdog's: whoever started the agent keeps it open. When it ends, the agent exits with status 4
at once; after --deadline-s with status 5. If an engine holds Python's lock, so that the watchdog cannot run, SIGALRM
ends the process two seconds later. (`infer` without --deadline-s has no watchdog.) SIGTERM ends it, too. --pid-file
holds the process number while the agent runs; after a signal it is left over. What engines write to a temporary folder
goes beside it.

`infer` runs every entry of IN.npy (first axis: inputs of batch 1, in the model's own layout and element type) and
writes what the model answers to OUT.npy. NAMES.json lists tensors inside the model whose values are wanted, too:
KEPT.npz has them under their numbers in the list. A .tflite then runs without delegates, which keep no values; of an
.onnx they must be outputs. --no-xnnpack has LiteRT compute with its own kernels, --no-optimizer has ONNX Runtime run
the nodes as they are in the file: other ways to the same answers, but for rounding.

`time` measures how long one call takes, on random values over the whole range of the input's type (floats: -1..1),
from a fixed seed, set once.

- LiteRT: the call is `invoke()`. `set_tensor` and `get_tensor`, which copy, are not in it: an app that fills and reads
  the tensors in place needs neither.
- ONNX Runtime: the call is `run(None, {input: array})`. It reads the array in place, and allocates the answer.

--delegate none keeps XNNPACK away. Whether it runs is seen in the graph: LiteRT adds a DELEGATE node for what a
delegate took over. ONNX Runtime uses its CPU provider. --session-option sets an attribute of its SessionOptions, or
a config entry if the key has dots in it.

The warm-up lasts for --warmup-count calls and --warmup-s seconds, whichever is longer; the timed block after it for
--min-count calls and --block-s seconds; neither for more than --max-count calls. Meanwhile nothing is printed, Python's
garbage collector is off, and the watchdog sleeps. Lines, in this order:

    start    pid, engine, engine_version, python, numpy, machine, threads, affinity (CPUs that it may run on, read
             back), delegate (xnnpack, none, cpu), delegate_evidence, delegated_nodes, nodes, session_options,
             model_sha256
    ready    import_s (the engine's module), init_s (from the file to the first call; the file was read once before)
    warmup   latency_s: all calls of the warm-up, the very first one included
    samples  latency_s: the timed calls; one or several lines
    usage    peak_rss_bytes (of the process), wall_s and cpu_s (of the timed block; cpu_s counts all threads)
    end      nonce, count (of samples)

`layers` asks the engine's own profiler how long each op takes, over --runs calls after a warm-up. It is no way to time
a model: measuring costs time itself, and both profilers count whole microseconds, rounded down, so that the ops of a
small model add up to more or less than a call takes. LiteRT's profiler has no Python interface; it is reached through
the C library in the package, whose interface changes: of `ai-edge-litert` 2.3 only, with one thread and with XNNPACK.
Elsewhere the error's kind is `layers_unavailable`. Lines: `start` and `ready` as above, then

    layers   source ("onnxruntime profile", "LiteRT profiler"), runs, total_s (median of as many calls without the
             profiler), ops: index (in the order of running), name, op, mean_s (of one run; the median of ten means,
             each over a tenth of the runs), count (of calls in a run)
    end      nonce, count: 0, as there are no samples

Errors come as these kinds: engine_missing, engine_broken (it is there and cannot be imported), wrong_engine (another
format), model_refused, option_refused, affinity_refused, affinity_unavailable, layers_unavailable, run_failed, failed.
"""

import argparse
import ctypes
import gc
import hashlib
import json
import os
import platform
import re
import signal
import statistics
import struct
import sys
import tempfile
import threading
import time
from array import array
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

EXIT_ERROR = 1
EXIT_STDIN_ENDED = 4
EXIT_DEADLINE = 5
ALARM_AFTER_DEADLINE_S = 2.0
SAMPLES_PER_LINE = 1000
SEED = 0
BATCHES = 10
LINES = [sys.stdout]  # the last one is where `emit` writes
PACKAGES = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime", "onnxruntime": "onnxruntime"}
MACHINE_OF_32_BITS = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}
ONNX_TYPES = {"float": "float32", "double": "float64"}  # those that NumPy calls otherwise


class Refusal(Exception):
    """An error that has a kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@contextmanager
def refusing(kind: str) -> Iterator[None]:
    """Give every error of an engine a kind."""
    try:
        yield
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(kind, f"{type(error).__name__}: {error}") from error


class LiteRtEngine:
    """Runs .tflite files with ai-edge-litert or with its predecessor tflite-runtime."""

    def __init__(self, name: str, module: Any, path: str, threads: int, tensors: List[str], xnnpack: bool) -> None:
        self.name = name
        self.session_options: Dict[str, str] = {}
        options: Dict[str, Any] = {}
        if tensors:
            options["experimental_preserve_all_tensors"] = True
        if tensors or not xnnpack:
            options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = module.Interpreter(model_path=path, num_threads=threads, **options)
        self._interpreter.allocate_tensors()
        given = self._interpreter.get_input_details()[0]
        self._input, self._shape = given["index"], given["shape"]
        self._any_shape = -1 in given["shape_signature"]
        output = self._interpreter.get_output_details()[0]["index"]
        self._read = [output, *(self._index_of(name) for name in tensors)]

    def run(self, values: Any) -> List[Any]:
        """Return the model's answer and the wanted tensors."""
        if self._any_shape and list(self._shape) != list(values.shape):
            self._shape = values.shape
            self._interpreter.resize_tensor_input(self._input, values.shape)
            self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._read]

    def timed_call(self) -> Callable[[], Any]:
        """Fill the inputs; return what is timed."""
        for given in self._interpreter.get_input_details():
            shape = require_known(given["name"], list(given["shape_signature"]))
            self._interpreter.set_tensor(given["index"], random_values(shape, given["dtype"]))
        invoke: Callable[[], Any] = self._interpreter.invoke
        return invoke

    def tensor_types(self) -> Iterator[List[Tuple[List[int], str]]]:
        """Yield the shapes and types of the inputs, then those of the outputs."""
        for details in (self._interpreter.get_input_details(), self._interpreter.get_output_details()):
            yield [([int(size) for size in tensor["shape"]], tensor["dtype"].__name__) for tensor in details]

    def delegate(self) -> Dict[str, Any]:
        """Return what computes the graph, as far as the graph tells."""
        try:
            nodes = self._interpreter._get_ops_details()
        except (AttributeError, ValueError):  # not public: another version may have none
            return {"delegate": None, "delegate_evidence": None, "delegated_nodes": None, "nodes": None}
        stored = [node for node in nodes if node["op_name"] != "DELEGATE"]
        delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
        taken = sum(nodes_between(delegate, stored) for delegate in delegates)
        return {
            "delegate": "xnnpack" if delegates else "none",
            "delegate_evidence": f"the graph has {len(delegates)} DELEGATE node(s), for {taken} of {len(stored)} nodes",
            "delegated_nodes": taken,
            "nodes": len(stored),
        }

    def _index_of(self, name: str) -> int:
        """Return the number of a tensor; where several have its name, `NAME#NUMBER` means the later ones."""
        details = self._interpreter.get_tensor_details()
        for tensor in details:
            if tensor["name"] == name:
                return int(tensor["index"])
        for tensor in details:
            if f"{tensor['name']}#{tensor['index']}" == name:
                return int(tensor["index"])
        raise ValueError(f"the model has no tensor {name}")


class OnnxRuntimeEngine:
    """Runs .onnx and .ort files with ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def __init__(
        self,
        module: Any,
        path: str,
        threads: int,
        tensors: List[str],
        optimizer: bool,
        session_options: Optional[Dict[str, str]] = None,
    ) -> None:
        self.session_options = {"intra_op_num_threads": str(threads), **(session_options or {})}
        options = module.SessionOptions()
        options.log_severity_level = 3  # errors only: they come as exceptions, too
        if not optimizer:
            options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
        for key, text in self.session_options.items():
            set_session_option(module, options, key, text)
        if identifier(path) == b"ORTM":
            options.add_session_config_entry("session.load_model_format", "ORT")
        self.session = module.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self.session.get_inputs()[0].name
        self._outputs = [self.session.get_outputs()[0].name, *tensors]

    def run(self, values: Any) -> List[Any]:
        """Return the model's answer and the wanted tensors."""
        return list(self.session.run(self._outputs, {self._input: values}))

    def timed_call(self) -> Callable[[], Any]:
        """Make the inputs; return what is timed."""
        given = {}
        for value in self.session.get_inputs():
            kind = value.type[len("tensor(") : -1]
            given[value.name] = random_values(require_known(value.name, value.shape), ONNX_TYPES.get(kind, kind))
        run = self.session.run
        return lambda: run(None, given)

    def delegate(self) -> Dict[str, Any]:
        evidence = f"get_providers() = {self.session.get_providers()}"
        return {"delegate": "cpu", "delegate_evidence": evidence, "delegated_nodes": None, "nodes": None}


Engine = Union[LiteRtEngine, OnnxRuntimeEngine]


def nodes_between(delegate: Dict[str, Any], nodes: List[Dict[str, Any]]) -> int:
    """Return how many nodes compute the outputs of a DELEGATE node from its inputs."""
    writer = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    given = {int(tensor) for tensor in delegate["inputs"]}
    wanted, found = [int(tensor) for tensor in delegate["outputs"]], set()
    while wanted:
        node = writer.get(wanted.pop())
        if node is not None and node["index"] not in found:
            found.add(node["index"])
            wanted += [int(tensor) for tensor in node["inputs"] if int(tensor) not in given]
    return len(found)


def set_session_option(module: Any, options: Any, key: str, text: str) -> None:
    if "." in key:
        options.add_session_config_entry(key, text)
        return
    enum = {"graph_optimization_level": "GraphOptimizationLevel", "execution_mode": "ExecutionMode"}.get(key)
    try:
        getattr(options, key)
        setattr(options, key, getattr(getattr(module, enum), text) if enum else json.loads(text))
    except (AttributeError, TypeError, ValueError) as error:
        raise Refusal("option_refused", f"onnxruntime takes no session option {key}={text} ({error})") from error


def identifier(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(8)[4:]


def sha256_of(path: str) -> str:
    """Return the digest of a file; it is never in memory as a whole, which would count in the peak."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for block in iter(lambda: file.read(1 << 16), b""):
            digest.update(block)
    return digest.hexdigest()


def candidates(path: str, engine: Optional[str] = None) -> List[str]:
    """Return the packages that may run a file, the preferred one first."""
    mark, suffix = identifier(path), Path(path).suffix.lower()
    is_tflite = mark == b"TFL3" or (mark != b"ORTM" and suffix == ".tflite")
    fitting = ["ai-edge-litert", "tflite-runtime"] if is_tflite else ["onnxruntime"]
    if engine is None:
        return fitting
    if PACKAGES[engine] not in fitting:
        raise Refusal("wrong_engine", f"{engine} does not run {Path(path).name}; {' or '.join(fitting)} does")
    return [PACKAGES[engine]]


def import_engine(packages: List[str]) -> Tuple[str, Any]:
    """Return the name and the module of the first of these packages that can be imported."""
    failures = []
    for package in packages:
        try:
            return package, _import(package)
        except ImportError as error:
            failures.append(error)
    missing = all(isinstance(error, ModuleNotFoundError) for error in failures)
    said = "; ".join(str(error) for error in failures)
    kind = "engine_missing" if missing else "engine_broken"
    raise Refusal(kind, f"{said}. Install it in this Python: pip install {packages[0]}") from failures[-1]


def _import(package: str) -> Any:
    if package == "onnxruntime":
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it reports to Microsoft from its import on
        import onnxruntime

        return onnxruntime
    if package == "ai-edge-litert":
        from ai_edge_litert import interpreter

        return interpreter
    from tflite_runtime import interpreter

    if not numpy_version().startswith("1."):
        raise Refusal("engine_broken", f"tflite-runtime needs 'numpy<2'. Received: numpy {numpy_version()}")
    return interpreter


def engine_for(args: argparse.Namespace, tensors: List[str]) -> Engine:
    package, module = import_engine(candidates(args.model, args.engine))
    if package == "onnxruntime":
        return OnnxRuntimeEngine(module, args.model, args.threads, tensors, not args.no_optimizer)
    return LiteRtEngine(package, module, args.model, args.threads, tensors, not args.no_xnnpack)


def version_of(distribution: str) -> Optional[str]:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def numpy_version() -> str:
    import numpy as np

    return np.__version__


def machine() -> str:
    """Return the instruction set of this program: a kernel of 64 bits runs programs of 32, and names its own."""
    name, bits = platform.machine(), 8 * struct.calcsize("P")
    return MACHINE_OF_32_BITS.get(name, name) if bits == 32 else name


def require_known(name: str, shape: List[Any]) -> List[int]:
    """Return a shape with a batch of 1 where the batch is open."""
    sizes = [1 if place == 0 and not _is_size(size) else size for place, size in enumerate(shape)]
    if not all(map(_is_size, sizes)):
        raise Refusal("model_refused", f"input {name} must have a known shape but for the batch. Received: {shape}")
    return [int(size) for size in sizes]


def _is_size(size: Any) -> bool:
    return not isinstance(size, str) and size is not None and size > 0


def random_values(shape: List[int], dtype: Any) -> Any:
    """Return values over the whole range of a type, floats in -1..1; the same ones every time."""
    import numpy as np

    chance, kind = np.random.default_rng(SEED), np.dtype(dtype)
    if kind.kind == "f":
        return chance.uniform(-1, 1, shape).astype(kind)
    limits = np.iinfo(kind)
    return chance.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), file=LINES[-1], flush=True)


def infer(args: argparse.Namespace) -> None:
    tensors = json.loads(Path(args.tensors).read_text(encoding="utf-8")) if args.tensors else []
    engine = engine_for(args, tensors)
    import numpy as np

    emit(
        "start",
        engine=engine.name,
        engine_version=version_of(engine.name),
        python=platform.python_version(),
        machine=machine(),
        **engine.delegate(),
    )
    inputs = np.load(args.inputs, mmap_mode="r", allow_pickle=False)
    answers = [engine.run(np.ascontiguousarray(inputs[index : index + 1])) for index in range(len(inputs))]
    outputs, *kept = (np.concatenate([answer[number] for answer in answers]) for number in range(1 + len(tensors)))
    np.save(args.outputs, outputs, allow_pickle=False)
    if tensors:
        numbered: Dict[str, Any] = {str(number): values for number, values in enumerate(kept)}
        np.savez(args.tensors_out, **numbered)
    emit("end", nonce=args.nonce, count=len(inputs))


def measure(args: argparse.Namespace) -> None:
    """Time one block (the command `time`)."""
    _, call = opened(args)
    with refusing("run_failed"), garbage_left():
        warmup_ns = timed_loop(call, block_s=args.warmup_s, min_count=args.warmup_count, max_count=args.max_count)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        samples_ns = timed_loop(call, block_s=args.block_s, min_count=args.min_count, max_count=args.max_count)
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    peak = peak_rss_bytes()  # before the lines are made
    emit("warmup", latency_s=in_seconds(warmup_ns))
    for first in range(0, len(samples_ns), SAMPLES_PER_LINE):
        emit("samples", latency_s=in_seconds(samples_ns[first : first + SAMPLES_PER_LINE]))
    emit("usage", peak_rss_bytes=peak, wall_s=wall_s, cpu_s=cpu_s)
    emit("end", nonce=args.nonce, count=len(samples_ns))


def layers(args: argparse.Namespace) -> None:
    """Tell how long each op takes."""
    engine, call = opened(args)
    with refusing("run_failed"), garbage_left():
        repeat(call, args.warmup_count)
        total_ns = timed_loop(call, block_s=0.0, min_count=args.runs, max_count=args.runs)
    with refusing("run_failed"):
        profiled = profile_onnxruntime if isinstance(engine, OnnxRuntimeEngine) else profile_litert
        source, ops = profiled(engine, args)
    total_s = round(statistics.median(total_ns) / 1e9, 9)
    emit("layers", source=source, runs=args.runs, total_s=total_s, ops=ops)
    emit("end", nonce=args.nonce, count=0)


def opened(args: argparse.Namespace) -> Tuple[Engine, Callable[[], Any]]:
    """Open the model and say so; return the engine and its call with random inputs."""
    with refusing("affinity_refused"):
        set_affinity(args.affinity)
    with refusing("model_refused"):
        digest = sha256_of(args.model)
        packages = candidates(args.model, args.engine)
    before_s = time.perf_counter()
    package, module = import_engine(packages)
    imported_s = time.perf_counter()
    with refusing("model_refused"):
        engine = timed_engine(package, module, args)
        init_s = time.perf_counter() - imported_s
        call = engine.timed_call()
    emit(
        "start",
        pid=os.getpid(),
        engine=engine.name,
        engine_version=version_of(engine.name),
        python=platform.python_version(),
        numpy=numpy_version(),
        machine=machine(),
        threads=args.threads,
        affinity=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        **engine.delegate(),
        session_options=engine.session_options,
        model_sha256=digest,
    )
    emit("ready", import_s=imported_s - before_s, init_s=init_s)
    return engine, call


def set_affinity(text: str) -> None:
    """Keep this process, with the threads that engines will start, on some CPUs, given as `0,2`."""
    if not text:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise Refusal("affinity_unavailable", f"{platform.system()} has no sched_setaffinity; leave --affinity out")
    try:
        os.sched_setaffinity(0, {int(number) for number in text.split(",")})
    except OSError as error:
        raise Refusal("affinity_refused", f"no CPUs {text} for this process ({error}); see `nproc`") from error


def timed_engine(package: str, module: Any, args: argparse.Namespace) -> Engine:
    options = dict(option.partition("=")[::2] for option in args.session_option)
    if package != "onnxruntime":
        if options:
            raise Refusal("option_refused", f"--session-option is for onnxruntime. Received: {package}")
        return LiteRtEngine(package, module, args.model, args.threads, [], args.delegate != "none")
    if args.delegate == "none":
        raise Refusal("option_refused", "onnxruntime has no delegate to leave out; its CPU provider computes")
    if options.get("intra_op_num_threads", str(args.threads)) != str(args.threads):
        raise Refusal("option_refused", "--session-option intra_op_num_threads says otherwise than --threads")
    return OnnxRuntimeEngine(module, args.model, args.threads, [], True, options)


@contextmanager
def garbage_left() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed_loop(call: Callable[[], Any], *, block_s: float, min_count: int, max_count: int) -> "array[int]":
    """Return the nanoseconds that each call took, until both the time is over and the count is reached."""
    clock = time.perf_counter_ns
    latencies_ns = array("q", bytes(8 * max_count))  # no memory is asked for between two calls
    count, end_ns = 0, clock() + int(block_s * 1e9)
    while count < max_count:
        before_ns = clock()
        call()
        after_ns = clock()
        latencies_ns[count] = after_ns - before_ns
        count += 1
        if after_ns >= end_ns and count >= min_count:
            break
    return latencies_ns[:count]


def repeat(call: Callable[[], Any], count: int) -> None:
    for _ in range(count):
        call()


def in_seconds(latencies_ns: "array[int]") -> List[float]:
    return [round(value / 1e9, 9) for value in latencies_ns]


def profile_onnxruntime(engine: Any, args: argparse.Namespace) -> Tuple[str, List[Dict[str, Any]]]:
    """Return the source and the ops; see ONNX Runtime's `enable_profiling`."""
    with tempfile.TemporaryDirectory(prefix="mnet-") as folder:
        prefix = json.dumps(str(Path(folder, "profile")))
        options = {**engine.session_options, "enable_profiling": "true", "profile_file_prefix": prefix}
        profiled = OnnxRuntimeEngine(_import(engine.name), args.model, args.threads, [], True, options)
        repeat(profiled.timed_call(), args.warmup_count + args.runs)
        events = json.loads(Path(profiled.session.end_profiling()).read_text(encoding="utf-8"))
    suffix, times_us, ops_of = "_kernel_time", {}, {}  # type: str, Dict[Any, List[int]], Dict[Any, str]
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(suffix):
            key = (event["args"].get("node_index"), event["name"][: -len(suffix)])
            times_us.setdefault(key, []).append(event["dur"])
            ops_of[key] = event["args"]["op_name"]
    ops = []
    for index, (key, values) in enumerate(times_us.items()):
        count = len(values) // (args.warmup_count + args.runs)
        timed, means_s = iter(values[-args.runs * count :]), []
        for runs in batches(args.runs):
            means_s.append(sum(next(timed) for _ in range(runs * count)) / runs / 1e6)
        mean_s = round(statistics.median(means_s), 10)
        ops.append({"index": index, "name": key[1], "op": ops_of[key], "mean_s": mean_s, "count": count})
    return "onnxruntime profile", ops


def batches(runs: int) -> List[int]:
    """Return how many runs are averaged at a time: the median of those means is not moved by a busy machine."""
    number = min(BATCHES, runs)
    return [runs // number + (index < runs % number) for index in range(number)]


def profile_litert(engine: Any, args: argparse.Namespace) -> Tuple[str, List[Dict[str, Any]]]:
    """Return the source and the ops; see `profile_summaries`."""
    if engine.name != "ai-edge-litert" or not (version_of(engine.name) or "").startswith("2.3."):
        raise Refusal(
            "layers_unavailable", f"needs ai-edge-litert 2.3. Received: {engine.name} {version_of(engine.name)}"
        )
    if args.threads != 1 or args.delegate == "none":
        raise Refusal("layers_unavailable", "LiteRT's profiler runs with one thread and with XNNPACK")
    with refusing("layers_unavailable"):
        return "LiteRT profiler", litert_ops(profile_summaries(engine, args))


class TensorType(ctypes.Structure):
    """LiteRtRankedTensorType of LiteRT 2.3: an element type, then a rank with one flag above it, sizes, strides."""

    _fields_ = [
        ("element", ctypes.c_int),
        ("rank", ctypes.c_uint32),
        ("sizes", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]


ELEMENTS = {"float32": 1, "int32": 2, "uint8": 3, "int16": 7, "int8": 9}  # LiteRtElementType
WRITE = 1  # LiteRtTensorBufferLockMode
CPU = 1  # LiteRtHwAccelerators


class LiteRtLibrary:
    """The C functions of the package's libLiteRt; each returns a status, and what it makes through its last argument.

    Nothing is freed: the process ends soon.
    """

    def __init__(self) -> None:
        import ai_edge_litert

        (path,) = Path(ai_edge_litert.__file__).parent.glob("libLiteRt.*")
        self._library = ctypes.CDLL(str(path))
        self._keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda pointer: None)  # instead of freeing
        self._options = ctypes.create_string_buffer(b"enable_profiling = true\n")  # TOML

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} returned {status}")

    def made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        result = ctypes.c_void_p()
        self.call(name, *arguments, ctypes.byref(result))
        return result

    def profiled_model(self, environment: ctypes.c_void_p, path: str) -> ctypes.c_void_p:
        """Return a compiled model that has a profiler."""
        model = self.made("LiteRtCreateModelFromFile", environment, os.fsencode(path))
        options = self.made("LiteRtCreateOptions")
        self.call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        more = self.made("LiteRtCreateOpaqueOptions", b"runtime_options_string", self._options, self._keep)
        self.call("LiteRtAddOpaqueOptions", options, more)
        return self.made("LiteRtCreateCompiledModel", environment, model, options)

    def buffer(self, environment: ctypes.c_void_p, needs: ctypes.c_void_p, shape: List[int], dtype: str) -> Any:
        """Return memory for a tensor, filled with random values."""
        kind = TensorType(ELEMENTS[dtype], len(shape), (ctypes.c_int32 * 8)(*shape), (ctypes.c_uint32 * 8)())
        create = "LiteRtCreateManagedTensorBufferFromRequirements"
        buffer = self.made(create, environment, ctypes.byref(kind), needs)
        values, address = random_values(shape, dtype), ctypes.c_void_p()
        self.call("LiteRtLockTensorBuffer", buffer, ctypes.byref(address), WRITE)
        ctypes.memmove(address, values.ctypes.data, values.nbytes)
        self.call("LiteRtUnlockTensorBuffer", buffer)
        return buffer


def profile_summaries(engine: LiteRtEngine, args: argparse.Namespace) -> Iterator[Tuple[str, int]]:
    """Yield texts of LiteRT's profiler, each with the runs since the one before it; they hold those before as well."""
    library, one, none = LiteRtLibrary(), ctypes.c_size_t(1), ctypes.c_size_t(0)
    environment = library.made("LiteRtCreateEnvironment", 0, None)
    compiled = library.profiled_model(environment, args.model)
    profiler = library.made("LiteRtCompiledModelGetProfiler", compiled)
    if not profiler:
        raise RuntimeError("the library has no profiler")
    buffers = []
    for kind, tensors in zip(("Input", "Output"), engine.tensor_types()):  # noqa: B905 - since Python 3.10
        ((shape, dtype),) = tensors  # one input, one output
        needs = library.made(f"LiteRtGetCompiledModel{kind}BufferRequirements", compiled, none, none)
        buffers.append((ctypes.c_void_p * 1)(library.buffer(environment, needs, shape, dtype)))
    given, answered = buffers

    def run() -> None:
        library.call("LiteRtRunCompiledModel", compiled, none, one, given, one, answered)

    repeat(run, args.warmup_count)
    for runs in batches(args.runs):
        library.call("LiteRtResetProfiler", profiler)  # forgets the events, but not the summary of those before
        library.call("LiteRtStartProfiler", profiler)
        repeat(run, runs)
        library.call("LiteRtStopProfiler", profiler)
        summary = ctypes.c_char_p()
        library.call("LiteRtGetProfileSummary", profiler, compiled, ctypes.byref(summary))
        yield (summary.value or b"").decode(errors="replace"), runs


# node type, start, first, average, its share, the shares so far, memory, times called, name
SUMMARY_LINE = re.compile(r"\s*(\S.*?)\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+([\d.]+)%\s+[\d.]+%\s+[\d.]+\s+(\d+)\s+(\S.*?)\s*")
SUMMARY_TOTAL = re.compile(r"Timings \(microseconds\):.*\b(?:sum|curr)=(\d+)")


def litert_ops(summaries: Iterable[Tuple[str, int]]) -> List[Dict[str, Any]]:
    """Return the ops of summaries, each of which holds all that went before it and some more runs.

    Ops of one type at the same place of several delegates are one line, called several times a run.
    """
    means_s: List[List[float]] = []
    counts: List[float] = []
    before: List[Tuple[str, str, float, int]] = []
    for text, runs in summaries:
        now = parse_summary(text)
        pairs = list(zip(now, before or [(*op[:2], 0.0, 0) for op in now]))  # noqa: B905 - since Python 3.10
        # Shares have few digits: of an op that takes nothing the difference may come out below it.
        means_s.append([max(0.0, new[2] - old[2]) / runs for new, old in pairs])
        counts = [(new[3] - old[3]) / runs for new, old in pairs]
        if len(pairs) != len(now) or any(count < 1 or count % 1 for count in counts):
            raise ValueError("LiteRT's summaries do not go on from each other as those of 2.3 do")
        before = now
    return [
        {
            "index": index,
            "name": name,
            "op": op,
            "mean_s": round(statistics.median(means[index] for means in means_s), 10),
            "count": int(counts[index]),
        }
        for index, (name, op, _, _) in enumerate(before)
    ]


def parse_summary(text: str) -> List[Tuple[str, str, float, int]]:
    """Return name, type, seconds in all calls together, and calls of the ops, in the order of running.

    The averages are rounded to a microsecond; the shares of the whole time are finer.
    """
    in_order = text.partition("Run Order")[2].partition("Top by Computation Time")[0]
    total = SUMMARY_TOTAL.search(text)
    found = [match for match in map(SUMMARY_LINE.fullmatch, in_order.splitlines()) if match]
    if total is None or not found:
        raise ValueError("LiteRT's summary has another form than that of 2.3")
    return [(match[4], match[1], float(match[2]) / 100 * int(total[1]) / 1e6, int(match[3])) for match in found]


def peak_rss_bytes() -> Optional[int]:
    """Return the most memory that this process had.

    On Linux from /proc: getrusage(2) starts with the peak of the program that started this one.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def watch(args: argparse.Namespace) -> None:
    """End this process when standard input ends, and at the deadline."""

    def leave(status: int) -> None:
        forget_pid(args)
        os._exit(status)

    def wait_for_end_of_input() -> None:
        with suppress(OSError):  # it was never open
            while os.read(0, 4096):
                pass
        leave(EXIT_STDIN_ENDED)

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, args.deadline_s + ALARM_AFTER_DEADLINE_S)
    timer = threading.Timer(args.deadline_s, leave, [EXIT_DEADLINE])
    timer.daemon = True
    timer.start()
    threading.Thread(target=wait_for_end_of_input, daemon=True).start()


def forget_pid(args: argparse.Namespace) -> None:
    if args.pid_file:
        with suppress(OSError):
            Path(args.pid_file).unlink()


def keep_output_to_ourselves() -> None:
    """Send what engines print to standard error; only `emit` writes to the real standard output."""
    LINES.append(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)


def count_of(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more; received {text}")
    return value


def parse(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="run a model on this device")
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--model", required=True)
    common.add_argument("--nonce", required=True)
    common.add_argument("--engine", choices=sorted(PACKAGES))
    common.add_argument("--threads", type=count_of, default=1)
    common.add_argument("--pid-file", default="")
    command = commands.add_parser("infer", parents=[common], help="run inputs and save the outputs")
    command.add_argument("--inputs", required=True)
    command.add_argument("--outputs", required=True)
    command.add_argument("--tensors", default="")
    command.add_argument("--tensors-out", default="")
    command.add_argument("--no-xnnpack", action="store_true")
    command.add_argument("--no-optimizer", action="store_true")
    command.add_argument("--deadline-s", type=float, default=None)
    command.set_defaults(run=infer)
    timed = argparse.ArgumentParser(add_help=False)
    timed.add_argument("--delegate", choices=["default", "none"], default="default")
    timed.add_argument("--affinity", default="")
    timed.add_argument("--session-option", action="append", default=[], metavar="KEY=VALUE")
    timed.add_argument("--deadline-s", type=float, default=60.0)
    timed.add_argument("--warmup-count", type=count_of, default=10)
    command = commands.add_parser("time", parents=[common, timed], help="time one block of calls")
    command.add_argument("--warmup-s", type=float, default=0.5)
    command.add_argument("--block-s", type=float, default=2.0)
    command.add_argument("--min-count", type=count_of, default=10)
    command.add_argument("--max-count", type=count_of, default=100_000)
    command.set_defaults(run=measure)
    command = commands.add_parser("layers", parents=[common, timed], help="tell how long each op takes")
    command.add_argument("--runs", type=count_of, default=50)
    command.set_defaults(run=layers)
    return parser.parse_args(arguments)


def main() -> int:
    args = parse()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever started this may have ignored it
    keep_output_to_ourselves()
    try:
        if args.pid_file:
            Path(args.pid_file).write_text(f"{os.getpid()}\n", encoding="ascii")
            # What engines leave in their temporary folder goes when the folder of whoever started this goes.
            os.environ["TMPDIR"] = str(Path(args.pid_file).resolve().parent)
        if args.deadline_s is not None:
            watch(args)
        args.run(args)
    except Exception as error:
        missing = "engine_missing" if isinstance(error, ModuleNotFoundError) else "failed"
        kind, message = missing, f"{type(error).__name__}: {error}"
        if isinstance(error, Refusal):
            kind, message = error.kind, str(error)
        engine = getattr(args, "engine", None)
        emit("error", kind=kind, message=" ".join(message.split())[:500], engine=engine)
        raise
    finally:
        forget_pid(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
