"""Frames and channel between session and tab, connection of a session to a room, unsaved edits."""
