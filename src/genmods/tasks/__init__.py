"""Tasks: LightningModules, one per way to train a model."""
