"""What can be seen in a message: URLs, domains, addresses, attachments, and how they match."""

EXTRACTOR_VERSION = 2
"""Raised when the same bytes give other observables: the lake then collects again.

And when the same observables have other lookups, by `lookup.lookups_of` or by a newer public suffix
list: keys are stored with the mail, so nobody would find what lies under a key it has not.
"""
