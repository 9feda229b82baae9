"""Sources of images, each for one data set or one layout of files."""
