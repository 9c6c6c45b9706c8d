"""The composition: settings in, one ASGI application out."""
