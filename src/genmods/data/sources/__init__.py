"""Sources of images: one data set, or one layout of files, each."""
