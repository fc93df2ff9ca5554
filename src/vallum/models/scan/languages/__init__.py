"""What a text says in its own language, judged without running it. Inspectors of formats share these."""
