"""Cedar's text, and the process that meets it first. Nothing else of the kernel is imported here: what the process
imports is what each check of a policy costs.
"""
