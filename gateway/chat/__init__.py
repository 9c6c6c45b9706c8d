"""Model routing, and a chat service that calls models through the gateway in the same process.

`routing` decides where a model call goes and with whose credential; `models` speak the vendors' formats through their
SDKs; `store` keeps chats; `service` runs turns.
"""
