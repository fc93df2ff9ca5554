"""One module a format; each has one `Inspector`."""
