"""The picture in docs/architecture.md, checked: who may import whom, and where the heavy libraries may be imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SIBLINGS = ("converters", "models", "runners")  # folders that install inside mnet_deploy

# A unit is a module or a package right below mnet_deploy. It may import itself and units of lower rows.
LAYERS = (
    {"errors", "interrupts", "intervals", "precision", "units", "terminal", "quiet", "data", "schemas"},
    {"child_process", "image_folder", "labels", "normalization", "output_folder", "progress", "text_table"},
    {"spec", "images", "graph_readers"},
    {"artifact", "measurement", "graph_facts"},
    {"models", "runners", "results", "cost", "latency", "selection", "report"},
    {"converters"},
    {"pipeline"},
    {"cli"},
)
LAYER_OF = {unit: number for number, units in enumerate(LAYERS) for unit in units}
FORBIDDEN = {("converters", "runners")}  # lower, but converters check through a callable and know no engine

HEAVY = {
    "PIL",
    "adbutils",
    "ai_edge_litert",
    "flatbuffers",
    "h5py",
    "jinja2",
    "keras",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "safetensors",
    "scipy",
    "tensorflow",
    "tflite_runtime",
}
# Units whose modules may import a heavy library, always at the top of the module.
MAY_BE_HEAVY = {"images", "graph_readers", "models", "runners", "latency", "report", "converters", "pipeline"}
# Sent to devices as a single file, it finds out there which engine is installed.
CHOOSES_AT_RUN_TIME = {"mnet_deploy.runners.on_device.agent"}


def module_files():
    """Return {dotted module name as installed: file} of all four folders."""
    found = {}
    for folder in ("mnet_deploy", *SIBLINGS):
        prefix = [] if folder == "mnet_deploy" else ["mnet_deploy"]
        for path in (ROOT / folder).rglob("*.py"):
            parts = [*prefix, *path.relative_to(ROOT).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FILES = module_files()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imported(node):
    """Yield the dotted names that an import statement may bind or load."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        # `from mnet_deploy import spec` loads mnet_deploy.spec: keep the longest name that is a module.
        yield from (name if (name := f"{node.module}.{alias.name}") in FILES else node.module for alias in node.names)


def imports_of(module):
    return {name for node in ast.walk(TREES[module]) for name in imported(node)}


def unit_of(module):
    """Return the part below mnet_deploy, `spec` for `mnet_deploy.spec.families`; None for mnet_deploy itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def may_import(importer, target):
    if importer == target:
        return True
    return LAYER_OF[target] < LAYER_OF[importer] and (importer, target) not in FORBIDDEN


@pytest.mark.parametrize(
    ("importer", "target", "expected"),
    [
        ("spec", "errors", True),
        ("errors", "spec", False),
        ("models", "runners", False),
        ("runners", "models", False),
        ("cost", "models", False),
        ("converters", "models", True),
        ("converters", "runners", False),
        ("pipeline", "runners", True),
        ("cli", "pipeline", True),
        ("pipeline", "cli", False),
    ],
)
def test_the_rule_is_the_one_in_the_picture(importer, target, expected):
    assert may_import(importer, target) is expected


@pytest.mark.parametrize("module", sorted(FILES))
def test_every_module_has_a_layer(module):
    assert unit_of(module) in {None, "__main__", *LAYER_OF}


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_point_downwards(module):
    ours = {name for name in imports_of(module) if name.partition(".")[0] == "mnet_deploy"} - {"mnet_deploy"}
    if unit_of(module) is None:
        assert ours == set(), "importing mnet_deploy must import nothing"
    elif unit_of(module) != "__main__":
        assert [name for name in sorted(ours) if not may_import(unit_of(module), unit_of(name))] == []


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_are_absolute_and_use_installed_names(module):
    relative = [node.lineno for node in ast.walk(TREES[module]) if isinstance(node, ast.ImportFrom) and node.level]
    assert relative == []
    assert {name.partition(".")[0] for name in imports_of(module)} & set(SIBLINGS) == set()


def heavy_lines(tree):
    """Return the lines of imports of heavy libraries: (at the top of the module, anywhere else that runs)."""
    top, deep = [], []

    def visit(node, lines):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if any(name.partition(".")[0] in HEAVY for name in imported(child)):
                lines.append(child.lineno)
            visit(child, deep if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else lines)

    visit(tree, top)
    return top, deep


def test_heavy_lines_tells_the_top_of_a_module_from_the_inside_of_a_function():
    source = "import os\nimport keras.layers\nif TYPE_CHECKING:\n    import h5py\ndef f():\n    from PIL import Image\n"
    assert heavy_lines(ast.parse(source)) == ([2], [6])


@pytest.mark.parametrize("module", sorted(FILES))
def test_heavy_libraries_are_imported_at_the_top_of_modules_that_may(module):
    top, deep = heavy_lines(TREES[module])
    assert module in CHOOSES_AT_RUN_TIME or deep == [], "import the module that has the library at its top instead"
    assert not top or unit_of(module) in MAY_BE_HEAVY


@pytest.mark.parametrize("module", sorted(FILES))
def test_no_module_is_named_like_a_library(module):
    # Run as a script, such a module would shadow the library for everything that it imports.
    assert module.rpartition(".")[2] not in HEAVY | {"numpy"}


LIGHT = {
    "import": "import mnet_deploy",
    "mnet --help": "from mnet_deploy.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    "mnet cost": "from mnet_deploy.cli import main\nmain(['cost'])",
}


@pytest.mark.parametrize("what", LIGHT)
def test_light_commands_load_no_framework(what, tmp_path):
    script = f"{LIGHT[what]}\nimport sys\nprint('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.rpartition("LOADED")[2].split()}
    assert "mnet_deploy" in loaded
    assert loaded & (HEAVY | {"numpy"}) == set()
