"""The append-only Merkle log: hashing, proofs, and the verifier that needs no server and no trust in one."""
