"""Read the layers of a .keras file from the JSON inside it: no Keras is imported, no code of the file is run.

Runs in the child process of `read_graph`. Nested models are flattened: their layers get the names `model/layer`.
"""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnet_deploy.errors import SpecError
from mnet_deploy.graph_readers.graph import Op, OpGraph, Tensor
from mnet_deploy.graph_readers.keras_shapes import Config, Shape, output_shape
from mnet_deploy.graph_readers.keras_weights import weight_shapes

_MAX_CONFIG_BYTES = 64 << 20

Key = tuple[str, int, int]  # what Keras calls a history: layer, which call of it, which of its outputs


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the names inside a model start with: those of its tensors differ in every call, those of its weights not."""

    tensors: str = ""
    weights: str = ""

    def inside(self, layer: str, call: int) -> "_Scope":
        return _Scope(f"{self.tensors}{_called(layer, call)}/", f"{self.weights}{layer}/")


def _called(layer: str, call: int) -> str:
    return layer if call == 0 else f"{layer}:{call}"


def read(path: Path) -> OpGraph:
    """Return the graph of a .keras file; raises anything at all on a damaged one."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "config.json" not in names:
            raise SpecError(f"a zip archive without config.json, which a .keras holds; it has {', '.join(names[:5])}")
        config = _json(archive, "config.json")
        about = _json(archive, "metadata.json") if "metadata.json" in names else {}
    builder = _Builder()
    inputs, outputs = builder.add_model(config)
    return OpGraph(
        format="keras",
        inputs=inputs,
        outputs=outputs,
        tensors=builder.tensors,
        ops=tuple(builder.ops),
        metadata={"model": _name_of(config)} | {name: str(value) for name, value in about.items()},
    )


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if archive.getinfo(name).file_size > _MAX_CONFIG_BYTES:
        raise SpecError(f"its {name} is larger than {_MAX_CONFIG_BYTES >> 20} MiB")
    found = json.loads(archive.read(name))
    if not isinstance(found, dict):
        raise SpecError(f"its {name} is not a JSON object")
    return found


def _name_of(layer: Config) -> str:
    return str(layer.get("name") or layer["config"].get("name") or layer["class_name"])


@dataclass(slots=True)
class _Builder:
    """Collects the tensors and ops of a model and of the models inside it."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)

    def add_model(self, model: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Add the outermost model; returns the names of its inputs and outputs."""
        config = model["config"]
        if _is_functional(config):
            return self._add_outer_functional(config)
        if "layers" not in config:
            raise SpecError(
                f"its model ({model['class_name']}) is a class of its own, whose layers are connected by code that the"
                " file does not hold; rebuild it as a functional model and save that"
            )
        first = config["layers"][0]
        shape = config.get("build_input_shape") or first["config"].get("batch_shape")
        name = _name_of(first) if first["class_name"] == "InputLayer" else "input"
        self._add_tensor(name, tuple(shape) if shape else None, _dtype(first["config"]))
        return (name,), self._add_sequential(config, _Scope(), [name])

    def _add_outer_functional(self, config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
        layers = {_name_of(layer): layer["config"] for layer in config["layers"]}
        inputs = tuple(key[0] for key in _keys(config["input_layers"]))
        for name in inputs:
            shape = layers[name].get("batch_shape") or layers[name].get("batch_input_shape")
            self._add_tensor(name, tuple(shape) if shape else None, _dtype(layers[name]))
        return inputs, self._add_functional(config, _Scope(), list(inputs))

    def _add_functional(self, config: Config, scope: _Scope, given: list[str]) -> tuple[str, ...]:
        """Add the layers of a functional model that is called on the tensors `given`; returns its outputs."""
        known: dict[Key, str] = dict(zip(_keys(config["input_layers"]), given, strict=True))
        models = frozenset(_name_of(layer) for layer in config["layers"] if _is_functional(layer["config"]))
        declared = _declared_shapes(config["layers"], models)
        waiting = [call for layer in config["layers"] for call in _calls(layer, models)]
        while waiting:
            later = []
            for call in waiting:
                if any(key not in known for key in call.reads):
                    later.append(call)
                    continue
                reads = [known[key] for key in call.reads]
                shapes = declared.get((call.name, call.index), {})
                wrote = self._add_layer(call.layer, scope, call.index, reads, shapes)
                known.update(((call.name, call.index, place), name) for place, name in enumerate(wrote))
            if len(later) == len(waiting):
                raise SpecError(f"its layer {waiting[0].name} reads a tensor that no layer writes")
            waiting = later
        return tuple(known[key] for key in _keys(config["output_layers"], models))

    def _add_sequential(self, config: Config, scope: _Scope, given: list[str]) -> tuple[str, ...]:
        """Add the layers of a sequential model that is called on the tensors `given`; returns its outputs."""
        layers = [layer for layer in config["layers"] if layer["class_name"] != "InputLayer"]
        current = tuple(given)
        for layer, following in zip(layers, [*layers[1:], None], strict=True):
            shape = _built_on(following) if following else None
            current = self._add_layer(layer, scope, 0, list(current), {0: shape})
        return current

    def _add_layer(
        self, layer: Config, scope: _Scope, call: int, reads: list[str], declared: dict[int, Shape | None]
    ) -> tuple[str, ...]:
        """Add one call of a layer (or of a model inside the model); returns the tensors that it writes."""
        kind, config = str(layer["class_name"]), layer["config"]
        if _is_functional(config):
            return self._add_functional(config, scope.inside(_name_of(layer), call), reads)
        if kind == "Sequential":
            return self._add_sequential(config, scope.inside(_name_of(layer), call), reads)
        call_name = scope.tensors + _called(_name_of(layer), call)
        shapes = [self.tensors[name].shape for name in reads]
        inferred = output_shape(kind, config, shapes)
        outputs = []
        for place in range(max(declared, default=0) + 1):
            name = call_name if place == 0 else f"{call_name}#{place}"
            shape = _better(declared.get(place), inferred if place == 0 else None)
            outputs.append(self._add_tensor(name, shape, _dtype(config)))
        weights = self._add_weights(kind, config, scope.weights + _name_of(layer), shapes[0] if shapes else None)
        self.ops.append(
            Op(
                name=call_name,
                op_type=kind,
                inputs=(*reads, *weights),
                outputs=tuple(outputs),
                attributes=_attributes(config),
            )
        )
        return tuple(outputs)

    def _add_weights(self, kind: str, config: Config, layer: str, shape: Shape | None) -> list[str]:
        found = weight_shapes(kind, config, shape)
        for role, sizes in found.items():
            name = f"{layer}/{role}"
            self.tensors[name] = Tensor(name=name, shape=sizes, dtype=_weight_dtype(config, role), constant=True)
        return [f"{layer}/{role}" for role in found]

    def _add_tensor(self, name: str, shape: Shape | None, dtype: str) -> str:
        self.tensors[name] = Tensor(name=name, shape=shape, dtype=dtype)
        return name


@dataclass(frozen=True, slots=True)
class _Call:
    """One use of a layer: Keras' node."""

    layer: Config
    name: str
    index: int
    reads: tuple[Key, ...]


def _is_functional(config: Config) -> bool:
    return "layers" in config and "output_layers" in config


def _calls(layer: Config, models: frozenset[str]) -> Iterator[_Call]:
    for index, node in enumerate(layer.get("inbound_nodes", ())):
        yield _Call(layer, _name_of(layer), index, tuple(key for key, _ in _tensors_in(node, models)))


def _declared_shapes(layers: list[Config], models: frozenset[str]) -> dict[tuple[str, int], dict[int, Shape | None]]:
    """Return the shapes that the file states for the tensors that layers read: (layer, call) -> output -> shape."""
    found: dict[tuple[str, int], dict[int, Shape | None]] = {}
    for layer in layers:
        for node in layer.get("inbound_nodes", ()):
            for (name, call, place), shape in _tensors_in(node, models):
                found.setdefault((name, call), {})[place] = shape
    return found


def _tensors_in(node: object, models: frozenset[str]) -> Iterator[tuple[Key, Shape | None]]:
    """Yield the tensors in the arguments of a call, in order: Keras 3's objects, or the lists of Keras 2.

    Lists count the calls of the functional `models` from 1 (Keras takes their own graph for the first), objects from 0.
    """
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            name, call, place = node["config"]["keras_history"]
            yield (name, call, place), tuple(node["config"]["shape"])
            return
        for value in node.values():
            yield from _tensors_in(value, models)
    elif isinstance(node, list):
        if _is_history(node):
            name, call, place = node[:3]
            yield (name, call - 1 if name in models else call, place), None
            return
        for value in node:
            yield from _tensors_in(value, models)


def _is_history(node: list[Any]) -> bool:
    return len(node) in (3, 4) and isinstance(node[0], str) and all(type(each) is int for each in node[1:3])


def _keys(structure: object, models: frozenset[str] = frozenset()) -> list[Key]:
    """Return the histories in `input_layers` or `output_layers`: one, a list or a dict of them."""
    return [key for key, _ in _tensors_in(structure, models)]


def _built_on(layer: Config) -> Shape | None:
    """Return the shape that a layer was built to read, where the file has it."""
    shape = (layer.get("build_config") or {}).get("input_shape")
    if not isinstance(shape, list) or any(isinstance(size, list) for size in shape):
        return None
    return tuple(shape)


def _better(declared: Shape | None, inferred: Shape | None) -> Shape | None:
    """Return the shape that says more; Keras' own word counts first."""
    if declared is None or (inferred is not None and None in declared[1:]):
        return inferred
    return declared


def _dtype(config: Config) -> str:
    """Return the type that a layer computes in, from its dtype policy."""
    name = _policy(config)
    return {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}.get(name, name.split("_from_")[-1])


def _weight_dtype(config: Config, role: str) -> str:
    name = _policy(config)
    if "_from_" in name and "kernel" in role:
        return name.split("_from_")[0]  # a quantised layer: `int8_from_float32`
    return "float32" if name.startswith("mixed_") else name.split("_from_")[-1]


def _policy(config: Config) -> str:
    policy = config.get("dtype") or "float32"
    if isinstance(policy, dict):
        inner = policy.get("config") or {}
        policy = inner.get("name") or f"{inner.get('mode', '')}_from_{inner.get('source_name', 'float32')}"
    return str(policy)


def _attributes(config: Config) -> dict[str, Any]:
    """Return the options that are numbers, words or lists of them; objects by the name of their class."""
    found = {}
    for name, value in config.items():
        if isinstance(value, dict) and name == "activation":
            found[name] = str(value.get("class_name"))
        elif isinstance(value, str | int | float | bool) or _is_plain_list(value):
            found[name] = value
    return {name: value for name, value in found.items() if name not in ("name", "trainable")}


def _is_plain_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, int | float | str | list) for each in value)
