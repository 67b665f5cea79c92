"""Believable mail, what becomes known of it later, and the truth about it."""
