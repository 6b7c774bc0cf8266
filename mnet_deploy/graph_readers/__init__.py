"""Read the graph of any .tflite, .onnx or .keras file, in a child process."""
