"""Decoded images in the cache folder: a table of known files, and packs of the pixels of one preparation."""
