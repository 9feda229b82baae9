"""The layout of a folder of images, found without opening them: splits, labels, and their origin."""
