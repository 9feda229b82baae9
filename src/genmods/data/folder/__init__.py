"""The layout of a folder of images, before any is opened: splits, labels, and their origin."""
