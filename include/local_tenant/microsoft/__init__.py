"""Microsoft 365: the identity platform and Graph."""
