"""MobileNet v1 from a Keras model to a verified int8 `.tflite` and `.onnx`, with its cost counted before it ships.

Importing this package imports no framework: Keras, TensorFlow, ONNX and the engines are imported by the one module
that needs each of them, when it is used.
"""

__version__ = "0.1.0"
