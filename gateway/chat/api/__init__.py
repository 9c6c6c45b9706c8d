"""The chat service as HTTP routes: an ASGI application that stands where the management API does.

app = compose(admitting_layers(layers), chat_api(service), parts)

operations.py   THE table of routes           handlers.py   what each route does
parameters.py   query and body as structs     answers.py    what comes back
stream.py       a chat's events, as they happen
"""

from gateway.chat.api.app import chat_api
from gateway.chat.paths import is_chat

__all__ = ["chat_api", "is_chat"]
