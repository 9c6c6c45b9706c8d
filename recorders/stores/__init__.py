"""Where records end up: one module per store, one schema for all of them."""
