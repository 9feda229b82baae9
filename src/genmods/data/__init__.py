"""Images to train on: sources (values that read data sets), one data module, augmentation of whole batches."""
