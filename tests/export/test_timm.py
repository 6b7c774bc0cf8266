"""PyTorch weights against timm itself (skipped where timm is not installed), and the reader on hand-made files."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from mnet_deploy.errors import SpecError
from mnet_deploy.models.builder import build, predict
from mnet_deploy.models.load import load_model
from mnet_deploy.models.timm_files import TORCH_EPSILON
from mnet_deploy.spec import LayerKind, ModelSpec, Padding

STAGES = (1, 2, 2, 6, 2)  # blocks of each stage of timm's MobileNet v1


def timm_arrays(*, alpha=0.25, classes=5, seed=0):
    """Return random arrays under timm's names and in PyTorch's layouts."""
    generator = np.random.default_rng(seed)
    blocks = iter(f"blocks.{stage}.{block}" for stage, count in enumerate(STAGES) for block in range(count))
    arrays, block = {}, ""
    for layer in ModelSpec(alpha=alpha, resolution_px=32, classes=classes).layers():
        if not layer.kind.has_weights:
            continue
        height, width, per_group, channels = layer.kernel_shape
        kernel = generator.normal(0, (2 / (height * width * per_group)) ** 0.5, (channels, per_group, height, width))
        if layer.kind is LayerKind.CLASSIFIER:
            arrays |= {"classifier.weight": kernel[..., 0, 0], "classifier.bias": generator.normal(0, 0.1, channels)}
            continue
        if layer.kind is LayerKind.DEPTHWISE:
            block = next(blocks)
        names = {"conv1": ("conv_stem", "bn1")}.get(layer.name) or (
            (f"{block}.conv_dw", f"{block}.bn1") if "_dw_" in layer.name else (f"{block}.conv_pw", f"{block}.bn2")
        )
        arrays[f"{names[0]}.weight"] = kernel
        arrays[f"{names[1]}.weight"] = generator.uniform(0.5, 1.5, channels)
        arrays[f"{names[1]}.bias"] = generator.normal(0, 0.3, channels)
        arrays[f"{names[1]}.running_mean"] = generator.normal(0, 0.3, channels)
        arrays[f"{names[1]}.running_var"] = generator.uniform(0.5, 1.5, channels)
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def arrays():
    return timm_arrays()


@pytest.fixture
def checkpoint(arrays, tmp_path):
    save_file(arrays, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_the_spec_is_inferred_with_pytorchs_padding(checkpoint):
    loaded = load_model(str(checkpoint), {"resolution_px": 64})
    assert loaded.spec == ModelSpec(alpha=0.25, resolution_px=64, classes=5, padding=Padding.SYMMETRIC)
    assert loaded.trained


def test_another_padding_contradicts_the_file(checkpoint):
    with pytest.raises(SpecError, match=r"padding=keras was asked for, but .* has padding=symmetric"):
        load_model(str(checkpoint), {"padding": Padding.KERAS})


def test_kernels_are_turned_and_epsilon_is_made_up_for(arrays, checkpoint):
    loaded = load_model(str(checkpoint), {"resolution_px": 32})
    build(loaded.spec, loaded.weights)
    stem, depthwise = loaded.weights["conv1"], loaded.weights["conv_dw_3"]
    np.testing.assert_array_equal(stem.kernel[1, 2, 0, 4], arrays["conv_stem.weight"][4, 0, 1, 2])
    np.testing.assert_array_equal(depthwise.kernel[0, 2, 5, 0], arrays["blocks.1.1.conv_dw.weight"][5, 0, 0, 2])
    keras_sum, torch_sum = stem.variance + 1e-3, arrays["bn1.running_var"] + TORCH_EPSILON
    np.testing.assert_allclose(keras_sum, torch_sum, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda arrays: arrays.pop("blocks.3.5.bn2.running_var"), "without blocks.3.5.bn2.running_var"),
        (lambda arrays: arrays.pop("conv_stem.weight"), "expected timm's MobileNet v1 layout"),
        (lambda arrays: arrays.update({"conv_head.weight": arrays["conv_stem.weight"]}), "conv_head"),
    ],
)
def test_another_layout_is_refused(arrays, tmp_path, change, expected):
    changed = dict(arrays)
    change(changed)
    save_file(changed, tmp_path / "x.safetensors")
    with pytest.raises(SpecError, match=expected):
        load_model(str(tmp_path / "x.safetensors"), {})


@pytest.mark.parametrize("length", [4, 9, 200, 5000, -1000])
def test_a_cut_file_is_refused(checkpoint, length):
    checkpoint.write_bytes(checkpoint.read_bytes()[:length])
    with pytest.raises(SpecError, match=r"model\.safetensors"):
        load_model(str(checkpoint), {})


@pytest.mark.parametrize("name", ["mobilenetv1_100", "mobilenetv1_125"])
def test_the_function_is_timms(name, tmp_path):
    timm = pytest.importorskip("timm", reason="timm is not installed (pip install timm)", exc_type=ImportError)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
    torch.manual_seed(0)
    reference = timm.create_model(name, num_classes=10).eval()
    for norm in (module for module in reference.modules() if getattr(module, "running_mean", None) is not None):
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.3)
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 1.5)
    save_file({key: value.numpy() for key, value in reference.state_dict().items()}, tmp_path / "timm.safetensors")
    loaded = load_model(str(tmp_path / "timm.safetensors"), {"resolution_px": 95})  # odd and even sizes
    inputs = np.random.default_rng(0).uniform(-1, 1, (4, 95, 95, 3)).astype(np.float32)
    expected = reference(torch.from_numpy(inputs.transpose(0, 3, 1, 2).copy())).softmax(1).detach().numpy()
    np.testing.assert_allclose(predict(build(loaded.spec, loaded.weights), inputs), expected, atol=1e-5)
