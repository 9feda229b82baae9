"""What every package uses: errors, counter-based random numbers, atomic files, checkpoint files."""
