"""Image restoration with a diffusion model: operators, corruptions and methods."""
