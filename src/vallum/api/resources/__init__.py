"""The resources, one module each: what they look like and what their routes do."""
