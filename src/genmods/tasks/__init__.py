"""LightningModules: what a network is trained for."""
