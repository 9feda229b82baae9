"""Tasks: LightningModules that say what a network is trained for."""
