"""Reports on runs: what was decided, done and not done, for people, spreadsheets and programs."""
