"""Vendors' formats, each spoken through the vendor's SDK: `speaker_for(model)` chooses."""
