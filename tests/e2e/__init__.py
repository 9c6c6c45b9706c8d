"""Real command-line clients and SDKs, through the real gateway, to the scripted provider; run by `make e2e`."""
