"""Access of a session to a room: participants, roles, the authorize hook, key filters and tab tokens.

- `participant`: role and user of a session; the hook `crdt_app(authorize=...)`.
- `room_context`: key filter, merge policy and participant of a session in a room.
- `tab_token`: the token with which the tab of a session enters the room.
"""
