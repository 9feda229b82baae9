"""Images as tensors, and the one data module that serves them."""
