"""Predictive models at run time: declared, loaded in a sandbox, asked in batches, and watched for being copied."""
