"""What can be seen in a message: URLs, domains, addresses, attachments, and how they match."""

EXTRACTOR_VERSION = 2
"""Raised when the same bytes give other observables: the lake then collects again."""
