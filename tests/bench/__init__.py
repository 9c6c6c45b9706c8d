"""`python -m tests.bench`: what the gateway costs, as ratios against something that runs beside it."""
