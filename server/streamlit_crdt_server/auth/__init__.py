"""Access tokens: claims and roles, signing and verification, the keys of a server.

Modules:
    tokens: Tokens of connections and of the admin API. No I/O.
    key_ring: Keys from settings, from the user's key file, or for one process.
"""
