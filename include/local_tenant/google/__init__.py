"""Google Workspace: OAuth for service accounts, Gmail and the Directory."""
