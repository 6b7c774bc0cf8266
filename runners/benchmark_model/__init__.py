"""TensorFlow Lite's and LiteRT's own `benchmark_model`: its flags, and all that it prints and writes."""
