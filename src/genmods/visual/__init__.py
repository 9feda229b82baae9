"""Pictures of what a network is and what it sees: matplotlib figures without global state, and SVG text."""
