"""Ops that multiply and accumulate nothing, by format: moving, element-wise work, reductions, look-ups.

Element-wise products count as no MACs here, as in the papers whose figures `mnet cost` is compared with.
"""

_TFLITE = """
ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CAST CEIL CONCATENATION
COS DENSIFY DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FAKE_QUANT
FILL FLOOR FLOOR_DIV FLOOR_MOD GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION L2_POOL_2D
LEAKY_RELU LESS LESS_EQUAL LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX
MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE RANGE RANK
REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SCATTER_ND SELECT SELECT_V2 SHAPE SIGN SIN SLICE SOFTMAX
SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH
TILE TOPK_V2 TRANSPOSE UNPACK WHERE ZEROS_LIKE
"""
_ONNX = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization BitShift Cast CastLike Ceil Celu Clip Compress Concat
ConstantOfShape Cos CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Expand
EyeLike Flatten Floor Gather GatherElements GatherND Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization LRN
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool Max MaxPool Mean Min Mish Mod
Mul Neg NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round
ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where Xor
com.microsoft::DequantizeLinear com.microsoft::QLinearAdd com.microsoft::QLinearAveragePool
com.microsoft::QLinearConcat com.microsoft::QLinearGlobalAveragePool com.microsoft::QLinearLeakyRelu
com.microsoft::QLinearMul com.microsoft::QLinearSigmoid com.microsoft::QLinearSoftmax com.microsoft::QuantizeLinear
"""
_KERAS = """
Activation ActivityRegularization Add AlphaDropout Average AveragePooling1D AveragePooling2D AveragePooling3D
BatchNormalization CenterCrop Concatenate Cropping1D Cropping2D Cropping3D Divide Dropout ELU Embedding ExpandDims
Flatten GaussianDropout GaussianNoise Gelu GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization HardSigmoid HardSilu Identity InputLayer
LayerNormalization LeakyReLU LeakyRelu Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum Multiply
Negative Normalization PReLU Permute RMSNormalization RandomBrightness RandomContrast RandomCrop RandomFlip
RandomRotation RandomTranslation RandomZoom ReLU Relu Relu6 RepeatVector Rescaling Reshape Resizing Sigmoid Silu
Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D Squeeze Subtract Swish Tanh Transpose TrueDivide
UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""

_WITHOUT_MACS = {
    name: frozenset(ops.split()) for name, ops in (("tflite", _TFLITE), ("onnx", _ONNX), ("keras", _KERAS))
}


def has_no_macs(graph_format: str, op_type: str) -> bool:
    """Whether an op is known to have no MACs."""
    return op_type in _WITHOUT_MACS[graph_format]
