import pytest

from mnet_deploy.latency.terms import CACHE_BYTES, TERMS, TILE_POSITIONS, term_matrix, terms_of, terms_of_layers
from mnet_deploy.precision import Precision
from mnet_deploy.spec import LayerKind, LayerSpec, ModelSpec

INT8, FP32 = Precision.INT8, Precision.FP32


def pointwise(side, channels_in=16, channels_out=32):
    return LayerSpec(
        name="pw",
        inputs=("input",),
        kind=LayerKind.POINTWISE,
        in_shape_hwc=(side, side, channels_in),
        out_shape_hwc=(side, side, channels_out),
    )


@pytest.mark.parametrize(("side", "positions"), [(4, 16), (5, 32), (6, 40), (7, 56), (8, 64)])
def test_positions_are_computed_a_tile_at_a_time(side, positions):
    assert positions % TILE_POSITIONS == 0
    assert terms_of_layers((pointwise(side),), INT8).tiled_macs == 16 * 32 * positions


def test_the_terms_of_a_layer():
    read, written, kernel = 10 * 10 * 16 * 4, 10 * 10 * 32 * 4, 16 * 32 * 4
    found = terms_of_layers((pointwise(10),), FP32)
    assert found.activation_bytes == read + written
    assert found.weight_bytes == kernel
    assert found.spilled_weight_bytes == pytest.approx(kernel**2 / (kernel + CACHE_BYTES))
    assert found.spilled_activation_bytes == pytest.approx((read + written) ** 2 / (read + written + CACHE_BYTES))
    assert (found.positions, found.ops) == (100, 1)


def test_what_is_much_larger_than_a_cache_spills_whole():
    found = terms_of_layers((pointwise(2000),), FP32)
    assert found.spilled_activation_bytes / found.activation_bytes > 0.99


@pytest.mark.parametrize("precision", Precision)
def test_terms_are_sums_over_layers(precision):
    spec = ModelSpec(alpha=0.5, resolution_px=96)
    parts = [terms_of_layers((layer,), precision) for layer in spec.layers()]
    for name in TERMS:
        assert getattr(terms_of(spec, precision), name) == pytest.approx(sum(getattr(part, name) for part in parts))


def test_bytes_follow_the_precision():
    spec = ModelSpec()
    assert terms_of(spec, FP32).weight_bytes == 4 * terms_of(spec, INT8).weight_bytes
    assert terms_of(spec, FP32).activation_bytes == 4 * terms_of(spec, INT8).activation_bytes
    assert terms_of(spec, FP32).tiled_macs == terms_of(spec, INT8).tiled_macs


def test_depthwise_layers_pooling_and_classifier_are_no_tiled_macs():
    layers = ModelSpec().layers()
    mixing = [layer for layer in layers if layer.kind in (LayerKind.CONVOLUTION, LayerKind.POINTWISE)]
    assert terms_of(ModelSpec(), INT8).tiled_macs == terms_of_layers(mixing, INT8).tiled_macs
    assert terms_of_layers(mixing, INT8).tiled_macs >= sum(layer.macs for layer in mixing)


def test_a_matrix_has_a_row_a_model():
    assert term_matrix((), INT8).shape == (0, len(TERMS))
    assert term_matrix([ModelSpec(), ModelSpec(alpha=0.5)], INT8).shape == (2, len(TERMS))
