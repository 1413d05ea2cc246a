"""Finding, judging and proving the GPU. Nothing here loads CUDA or CTranslate2 into the service."""
