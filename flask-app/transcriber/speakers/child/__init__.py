"""The diarization child: the only part with numpy and onnxruntime."""
