"""The engine child: VAD, log-mel, batching, CTranslate2. The only code that imports them."""
