"""Sources of images, one per data set or file layout."""
