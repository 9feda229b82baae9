"""What is known of a folder of images before one is opened: splits, labels, and where these are said."""
