"""MobileNet v1 from a Keras model to a verified int8 `.tflite` and `.onnx`, with its cost counted before it ships.

Importing this package imports no framework: Keras, TensorFlow, ONNX and the engines are imported by the one module
that needs each of them, when it is used.
"""

import os

# ONNX Runtime's packages (1.29 and later, outside Windows) otherwise report to Microsoft, from the moment they are
# imported, and leave a file with an identifier behind. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
