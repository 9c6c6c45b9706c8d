"""OpenAI: the Chat completions and Responses APIs, their error bodies, and the provider type."""
