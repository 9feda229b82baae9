"""Diffusion models: processes, predictions, samplers, guidance and likelihood. Needs torch alone."""
