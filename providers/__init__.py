"""What is particular to a provider: routes, credentials, request facts, stream readers, error bodies."""
