"""The layers: one file each, one public class per file, each a plain ASGI application around another."""
