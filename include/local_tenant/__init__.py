"""An emulated Microsoft 365 and Google Workspace tenant on loopback, for demo and tests."""
