"""Anthropic: the Messages API, its error bodies, and the provider type."""
