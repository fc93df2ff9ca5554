"""One module a layout; each has one `RepositoryInspector`."""
