"""One module a way to get a source's documents: files, http(s), object stores, services."""
