"""Real command-line clients, through the real gateway, to the scripted provider; run by `make e2e`."""
