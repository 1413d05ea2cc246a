"""The child that tells speakers apart: the only part with numpy and onnxruntime."""
