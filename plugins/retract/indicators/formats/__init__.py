"""One module a format: a document's bytes in, its entries out, one by one."""
