"""Decoders of image files by format, used by training and all commands; each returns a `Raster`."""
