"""Where things are kept: records (SQL), blobs (objects) and counters, each a small port with adapters."""
