"""The one error of configuration: a sentence for the operator."""

from __future__ import annotations


class SettingsError(ValueError):
    """The configuration can't be used.

    The message is one sentence that names the setting and where it stands, and says what to change, remove or
    rename. It never repeats a value, because a value may be a secret that went into the wrong place.
    """
