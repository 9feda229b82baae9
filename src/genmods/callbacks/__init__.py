"""Lightning callbacks: EMA, pictures, reports."""
