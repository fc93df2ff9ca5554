"""The small trusted base: gate, identity, policy, keys, ledger, store. It imports nothing above it."""
