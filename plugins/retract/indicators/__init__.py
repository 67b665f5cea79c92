"""Threat feeds: from a file or URL to the indicators that messages are matched with."""
