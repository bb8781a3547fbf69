"""Transport of updates between session, tab and room.

- `frame`: frames of the channel, and the status reports of a tab.
- `transfer`: transfers of large updates in parts. No I/O.
- `channel`: the session's end of the channel. No I/O.
- `unsaved_edits`: unsaved edits of a session.
- `connection`: connection of a session to a room.
- `tab`: connection of a session to its tab.
"""
