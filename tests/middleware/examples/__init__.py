"""Each layer alone in somebody's Starlette application: short enough to quote, and run by `test_examples`."""
