"""One short file a sampler."""
