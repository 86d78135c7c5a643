"""ONNX graphs of a trained member: folded, cut, quantising, and compared with torch."""
