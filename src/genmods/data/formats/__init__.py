"""Image files by format, each read as a `Raster`: the only decoder, of training and of every command."""
