"""Counts from the graph alone, against the Keras layers, our own spec, and formulas."""

from math import prod

import pytest

from mnet_deploy.cost import Precision, estimate
from mnet_deploy.cost.graph_cost import estimate_graph
from mnet_deploy.graph_readers import Op, OpGraph, Tensor, read_graph


def count(path):
    return estimate_graph(read_graph(path), title=path.name)


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2", "mixed"])
def test_a_keras_file_counts_like_its_layers(name, files, models, reference):
    cost = count(files[f"{name}.keras"])
    expected = {total: function(models[name]) for total, function in reference.items()}
    assert {total: getattr(cost, total) for total in expected} == expected
    assert cost.uncounted == ()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2", "mixed"])
def test_a_tflite_file_counts_like_the_keras_layers(name, precision, files, models, reference):
    cost = count(files[f"{name}_{precision}.tflite"])
    assert cost.uncounted == ()
    assert cost.macs == reference["macs"](models[name])
    # What cannot be folded of a batch norm stays as a stored vector to multiply with.
    kept = models[name].get_layer("kept").gamma.shape[0] if name == "mixed" else 0
    assert cost.weight_count == reference["weight_count"](models[name]) + kept


@pytest.mark.parametrize("name", ["mobilenet.keras", "mobilenet_fp32.tflite", "mobilenet_int8.tflite"])
@pytest.mark.parametrize("total", ["macs", "weight_count", "bias_count"])
def test_a_file_of_the_family_counts_like_its_spec(name, total, files, spec):
    assert getattr(count(files[name]), total) == getattr(estimate(spec), total)


@pytest.mark.parametrize("name", ["mobilenet_fp16.tflite", "mobilenet_dynamic.tflite"])
def test_weights_stored_in_another_type_count_like_floats(name, files, spec):
    cost, expected = count(files[name]), estimate(spec)
    assert (cost.macs, cost.weight_count, cost.peak_elements) == (
        expected.macs,
        expected.weight_count,
        expected.peak_elements,
    )


def test_a_keras_file_keeps_the_parameters_of_batch_norm_apart(files, spec):
    cost, expected = count(files["mobilenet.keras"]), estimate(spec)
    assert (cost.params, cost.batch_norm_count, cost.own_bias_count) == (
        expected.params,
        expected.batch_norm_count,
        expected.own_bias_count,
    )
    assert cost.params == 470_072  # Keras prints 475,544 with the moving means and variances, which are not trained


def test_flash_of_an_int8_file_follows_from_its_graph(files, spec):
    cost = count(files["mobilenet_int8.tflite"])
    assert cost.stored_bytes(Precision.INT8) == estimate(spec).stored_bytes(Precision.INT8)
    assert cost.stored_bytes(Precision.INT8) / 1024 == pytest.approx(
        467.33, abs=0.01
    )  # ST model zoo, 0.25, 1000 classes


def test_activations_of_a_tflite_are_those_of_the_spec_and_a_reshape(files, spec):
    cost, expected = count(files["mobilenet_int8.tflite"]), estimate(spec)
    assert cost.peak_elements == expected.peak_elements == 2 * 64 * 64 * 8 + 64 * 64 * 8
    reshaped = 2 * spec.classes  # read and written by the RESHAPE before the softmax
    assert cost.moved_bytes(Precision.INT8) == expected.moved_bytes(Precision.INT8) + reshaped


@pytest.mark.parametrize("name", ["folded", "batch_norm", "qdq", "qoperator", "dynamic"])
def test_an_onnx_file_counts_like_its_spec_however_it_is_quantised(name, onnx_files, spec):
    cost, expected = count(onnx_files[name]), estimate(spec)
    assert (cost.macs, cost.weight_count, cost.uncounted) == (expected.macs, expected.weight_count, ())
    assert cost.bias_count == expected.bias_count


@pytest.mark.parametrize("name", ["folded", "batch_norm"])
def test_folded_ops_of_an_onnx_file_move_no_memory(name, onnx_files, spec):
    cost, expected = count(onnx_files[name]), estimate(spec)
    flattened = 2 * spec.classes
    assert cost.moved_bytes(Precision.INT8) == expected.moved_bytes(Precision.INT8) + flattened
    assert cost.peak_elements == expected.peak_elements


def test_rows_show_the_shapes_with_the_channels_last_in_every_format(files, onnx_files, spec):
    first = spec.layers()[0]
    for path in (files["mobilenet.keras"], files["mobilenet_int8.tflite"], onnx_files["folded"], onnx_files["qdq"]):
        row = next(row for row in count(path).layers if row.macs)
        assert (row.in_shape, row.out_shape) == (first.in_shape_hwc, first.out_shape_hwc), path.name


@pytest.mark.parametrize(("file", "kinds"), [("mobilenet_fp32.tflite", (1, 13, 14)), ("mobilenet.keras", (1, 13, 14))])
def test_rows_name_the_kind_of_convolution(file, kinds, files):
    found = [row.kind for row in count(files[file]).layers]
    assert tuple(found.count(kind) for kind in ("convolution", "depthwise", "pointwise")) == kinds


def test_every_kind_of_layer_with_macs_is_named(files):
    kinds = {row.name: row.kind for row in count(files["mixed.keras"]).layers if row.macs}
    assert {kinds[name] for name in ("grouped", "dilated", "depthwise", "separable", "transposed", "head")} == {
        "grouped_convolution",
        "convolution",
        "depthwise",
        "separable_convolution",
        "transposed_convolution",
        "fully_connected",
    }


def test_an_op_that_cannot_be_counted_is_named_and_never_zero(keras, tmp_path):
    layers = keras.layers
    words = keras.Input((6, 4))
    states = layers.LSTM(5, name="memory", return_sequences=True)(words)
    attended = layers.MultiHeadAttention(2, 3, name="attention")(states, states)
    keras.Model(words, layers.Dense(3)(attended)).save(tmp_path / "words.keras")
    cost = count(tmp_path / "words.keras")
    assert cost.uncounted == ("memory", "attention")
    assert [row.macs for row in cost.layers] == [None, None, 6 * 5 * 3]
    # Four gates: inputs, states and biases.
    assert cost.layers[0].params == 4 * (4 * 5 + 5 * 5 + 5)


def test_layers_of_models_inside_a_model_count_in_every_call_and_own_their_weights_once(keras, tmp_path):
    layers = keras.layers
    pixels = keras.Input((8, 8, 3))
    functional = keras.Model(pixels, layers.Conv2D(3, 3, padding="same")(pixels), name="functional")
    chain = keras.Sequential([keras.Input((8, 8, 3)), layers.DepthwiseConv2D(3, padding="same"), layers.ReLU()])
    image = keras.Input((8, 8, 3))
    once = functional(image)
    outputs = [layers.Add()([once, functional(once)]), chain(chain(once))]
    model = keras.Model(image, outputs)
    model.save(tmp_path / "shared.keras")
    cost = count(tmp_path / "shared.keras")
    assert cost.macs == 2 * (3 * 3 * 3 * 3 * 8 * 8) + 2 * (3 * 3 * 3 * 8 * 8)
    assert cost.params == model.count_params() == (3 * 3 * 3 * 3 + 3) + (3 * 3 * 3 + 3)


def test_a_sequential_model_counts_like_its_layers(keras, reference, tmp_path):
    layers = keras.layers
    chain = [layers.ZeroPadding2D(((1, 2), (0, 1))), layers.Conv2D(6, 3, strides=2), layers.AveragePooling2D(2)]
    chain += [layers.UpSampling2D(2), layers.Cropping2D(1), layers.PReLU(shared_axes=[1, 2]), layers.Reshape((-1, 6))]
    chain += [layers.LayerNormalization(), layers.GRU(4), layers.Dense(2, use_bias=False)]
    model = keras.Sequential([keras.Input((16, 16, 2)), *chain])
    model.save(tmp_path / "chain.keras")
    cost = count(tmp_path / "chain.keras")
    assert cost.macs == reference["macs"](model)
    assert cost.params == reference["params"](model)
    assert [row.out_shape for row in cost.layers] == [layer.output.shape[1:] for layer in model.layers]
    assert cost.uncounted == (model.layers[-2].name,)


def test_a_model_without_an_input_size_is_named_as_uncounted(keras, tmp_path):
    layers = keras.layers
    image = keras.Input((None, None, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="any_size")(image))
    keras.Model(image, layers.Dense(2)(pooled)).save(tmp_path / "any.keras")
    cost = count(tmp_path / "any.keras")
    assert cost.uncounted == ("any_size",)
    assert (cost.peak_elements, cost.moved_bytes(Precision.INT8)) == (None, None)
    assert cost.params == (3 * 3 * 3 * 4 + 4) + (4 * 2 + 2)


def test_a_layer_of_someones_own_is_uncounted(keras, tmp_path):
    @keras.saving.register_keras_serializable("test_graph_cost")
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    image = keras.Input((4,))
    keras.Model(image, keras.layers.Dense(2)(Own(name="own")(image))).save(tmp_path / "own.keras")
    assert count(tmp_path / "own.keras").uncounted == ("own",)


ONNX_OPS = {
    "grouped": ("Conv", [(1, 8, 10, 10), (12, 4, 3, 3)], {"group": 2, "pads": [1] * 4}, 12 * 4 * 3 * 3 * 10 * 10),
    "dilated": ("Conv", [(1, 8, 10, 10), (4, 8, 3, 3)], {"dilations": [2, 2]}, 4 * 8 * 3 * 3 * 6 * 6),
    "one-dimensional": ("Conv", [(1, 8, 10), (4, 8, 3)], {}, 4 * 8 * 3 * 8),
    "transposed": ("ConvTranspose", [(1, 8, 5, 5), (8, 4, 3, 3)], {"strides": [2, 2]}, 8 * 4 * 3 * 3 * 5 * 5),
    "gemm": ("Gemm", [(1, 20), (20, 7), (7,)], {}, 20 * 7),
    "gemm of a transposed weight": ("Gemm", [(1, 20), (7, 20)], {"transB": 1}, 20 * 7),
    "matrix of tokens": ("MatMul", [(1, 6, 20), (20, 7)], {}, 6 * 20 * 7),
}


@pytest.mark.parametrize("case", ONNX_OPS)
@pytest.mark.parametrize("batch", [1, 3, "N"])
def test_onnx_ops_follow_their_formula_for_one_image(case, batch, onnx, tmp_path):
    op_type, (image, *weights), attributes, expected = ONNX_OPS[case]
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    names = [f"w{index}" for index in range(len(weights))]
    stored = [helper.make_tensor(name, floats, w, [0.5] * prod(w)) for name, w in zip(names, weights, strict=True)]
    node = helper.make_node(op_type, ["x", *names], ["y"], name="op", **attributes)
    read = helper.make_tensor_value_info("x", floats, [batch, *image[1:]])
    graph = helper.make_graph([node], "one", [read], [helper.make_empty_tensor_value_info("y")], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "op.onnx")
    (row,) = count(tmp_path / "op.onnx").layers
    assert (row.macs, row.weight_count) == (expected, prod(weights[0]))


@pytest.mark.parametrize("op_type", ["LSTM", "Einsum", "Attention", "MadeUp"])
def test_unknown_onnx_ops_are_named(op_type):
    tensors = {name: Tensor(name=name, shape=(1, 4), dtype="float32") for name in ("x", "y")}
    op = Op(name="it", op_type=op_type, inputs=("x",), outputs=("y",))
    graph = OpGraph(format="onnx", inputs=("x",), outputs=("y",), tensors=tensors, ops=(op,))
    cost = estimate_graph(graph, title="one op")
    assert (cost.uncounted, cost.layers[0].macs) == (("it",), None)


@pytest.mark.parametrize("kernel", [(), (4,), (4, 4), (4, 1, 1, 4)])
def test_a_damaged_convolution_is_uncounted(kernel):
    shapes = {"x": (1, 2, 2, 4), "k": kernel, "y": (1, 4)}  # too few dimensions in the kernel or in the result
    tensors = {name: Tensor(name=name, shape=s, dtype="float32", constant=name == "k") for name, s in shapes.items()}
    op = Op(name="conv", op_type="CONV_2D", inputs=("x", "k"), outputs=("y",))
    graph = OpGraph(format="tflite", inputs=("x",), outputs=("y",), tensors=tensors, ops=(op,))
    assert estimate_graph(graph, title="damaged").uncounted == ("conv",)


def test_an_op_that_writes_nothing_is_named():
    op = Op(name="ASSIGN_VARIABLE", op_type="ASSIGN_VARIABLE", inputs=(), outputs=())
    graph = OpGraph(format="tflite", inputs=(), outputs=(), tensors={}, ops=(op,))
    assert estimate_graph(graph, title="state").uncounted == ("ASSIGN_VARIABLE",)


def test_a_product_of_two_activations_counts_and_owns_nothing():
    shapes = {"a": (2, 5, 6), "b": (2, 6, 7), "y": (2, 5, 7)}  # two heads, no batch in front
    tensors = {name: Tensor(name=name, shape=(1, *shape), dtype="float32") for name, shape in shapes.items()}
    op = Op(name="scores", op_type="BATCH_MATMUL", inputs=("a", "b"), outputs=("y",))
    graph = OpGraph(format="tflite", inputs=("a", "b"), outputs=("y",), tensors=tensors, ops=(op,))
    cost = estimate_graph(graph, title="attention")
    assert (cost.macs, cost.params) == (2 * 5 * 6 * 7, 0)


def test_a_reshape_that_hides_other_dimensions_in_an_unknown_batch_is_not_guessed():
    shapes = {"x": (None, 6, 4), "rows": (None, 4), "w": (3, 4), "y": (None, 3)}
    tensors = {name: Tensor(name=name, shape=s, dtype="float32", constant=name == "w") for name, s in shapes.items()}
    reshape = Op(name="merge", op_type="RESHAPE", inputs=("x",), outputs=("rows",))
    dense = Op(name="dense", op_type="FULLY_CONNECTED", inputs=("rows", "w"), outputs=("y",))
    graph = OpGraph(format="tflite", inputs=("x",), outputs=("y",), tensors=tensors, ops=(reshape, dense))
    cost = estimate_graph(graph, title="rows")
    assert cost.uncounted == ("dense",)  # 6 rows an image, but the file does not say so any more
    assert cost.weight_count == 12


def test_equal_biases_that_are_stored_once_count_with_every_kernel():
    stored = {"k1": (4, 1, 1, 4), "k2": (4, 1, 1, 4), "zeros": (4,)}
    shapes = {name: (1, 2, 2, 4) for name in ("x", "m", "n", "y")}
    tensors = {name: Tensor(name=name, shape=shape, dtype="float32") for name, shape in shapes.items()}
    tensors |= {name: Tensor(name=name, shape=s, dtype="float32", constant=True) for name, s in stored.items()}
    ops = tuple(
        Op(name=out, op_type="CONV_2D", inputs=(read, kernel, "zeros"), outputs=(out,))
        for read, kernel, out in (("x", "k1", "m"), ("m", "k2", "n"), ("n", "k2", "y"))
    )
    graph = OpGraph(format="tflite", inputs=("x",), outputs=("y",), tensors=tensors, ops=ops)
    cost = estimate_graph(graph, title="shared")
    assert (cost.weight_count, cost.own_bias_count) == (16 + 16, 4 + 4)  # the third op shares kernel and bias
    assert cost.macs == 3 * 16 * 4
