"""Running the family's graphs: the only place that knows onnxruntime."""
