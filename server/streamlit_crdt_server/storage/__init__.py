"""Stores of rooms: the `Store` protocol, a store in memory and one in a SQLite file. A failure raises an error.

Modules:
    store: `Store`, `MemoryStore`, `StoredRoom`, and the log of one room.
    store_url: Stores by their URL or path.
    sqlite_store: `SQLiteStore`.
    sqlite_writer: Thread that reads and commits.
    sqlite_file: Checks and transactions of one file.
    sqlite_log: Tables and statements.
    file_lock: Lock that gives the file one owner.
    high_water_mark: Detection of a log that lost its end.
    repair: Report of what a damaged file has lost, and a new file with the rest.
"""
