"""Encoding of Python values as Yjs values, equality and copies.

- `values`: `encode` and `decode`.
- `equality`: `equal`, which decides whether a value has changed, and `deep_copy`.
- `fingerprint`: evidence that a large value has not changed.
- `scalars`, `arrays`, `tables`: tagged types of Python, numpy and pandas.
"""
