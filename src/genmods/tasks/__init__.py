"""Tasks: LightningModules, one for each way to train a model."""
