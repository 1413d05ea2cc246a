"""The self-test inside the child: a fixed clip through encoder and decoder."""
