"""Post-delivery retraction of email: judge delivered mail again, take back what is known bad."""
