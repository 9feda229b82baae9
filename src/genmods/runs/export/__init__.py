"""Export of trained models: for genmods and, in their formats, for other programs."""
