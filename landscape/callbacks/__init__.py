"""Probes for trainers of other libraries: `lightning` and `huggingface`, each imported by who has that library."""
