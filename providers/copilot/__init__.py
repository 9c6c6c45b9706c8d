"""GitHub Copilot: OpenAI's and Anthropic's formats, with the user's own credential."""
