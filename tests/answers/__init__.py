"""Replies worded as the vendors word them, from one `Turn`: what the model says in one response.

Three wire formats stand side by side: `anthropic` (Messages), `chat` (Chat completions) and `responses`, each with
`reply(turn, streamed=...)`, `error(...)` and `models(...)`. `agent` plays a whole conversation of a coding agent.
"""
