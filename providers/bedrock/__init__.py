"""Anthropic's models on Amazon Bedrock: what a request and an answer are turned into, and how a request is signed."""
