"""A few steps of a task through a Trainer."""

from lightning.pytorch import Trainer


def trainer(**settings):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        inference_mode=False,
        **settings,
    )
