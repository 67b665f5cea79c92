"""Post-delivery retraction of email: judge delivered mail again, and take back what is now known bad."""
