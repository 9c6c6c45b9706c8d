"""What a plain `pytest` leaves out: runs that need more than this checkout have a `make` target of their own."""

collect_ignore = ["e2e"]  # `make e2e`: real clients, installed from npm
