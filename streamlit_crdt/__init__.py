"""Concurrent use of one Streamlit app: the session state of all people in a room merges through a CRDT document."""

from streamlit_crdt import rooms
from streamlit_crdt.access.participant import Visitor
from streamlit_crdt.client import (
    EditsNotSavedError,
    EntryRefusedError,
    JobRoom,
    OutsideAppError,
    RoomDeletedError,
    RoomLeftError,
    connect,
)
from streamlit_crdt.deploy.asgi import crdt_app
from streamlit_crdt.document.events import Event
from streamlit_crdt.document.snapshots import Snapshot
from streamlit_crdt.errors import (
    CrdtError,
    EntryForbiddenError,
    FrameError,
    MergeRuleError,
    RoleError,
    RoomFileError,
    RoomNameError,
    RoomNotLoadedError,
    ServerUnavailableError,
    SharedItemDeletedError,
    SharedTypeError,
    SnapshotLimitError,
    SnapshotMissingError,
    SnapshotNameError,
    StreamlitTooOldError,
    UpdateRefusedError,
    UserError,
    ValueNotShareableError,
    ValueUnreadableError,
    ViewOnlyError,
)
from streamlit_crdt.merge import MergeRule
from streamlit_crdt.room.room import Room, SharedState
from streamlit_crdt.room.shared_types import (
    SharedCounter,
    SharedList,
    SharedMap,
    SharedRecords,
    SharedSet,
    SharedText,
)
from streamlit_crdt.room.snapshots import Snapshots
from streamlit_crdt.room.sync import crdt_sync, private_key
from streamlit_crdt.room_picker import select_room_widget

__all__ = [
    "CrdtError",
    "EditsNotSavedError",
    "EntryForbiddenError",
    "EntryRefusedError",
    "Event",
    "FrameError",
    "JobRoom",
    "MergeRule",
    "MergeRuleError",
    "OutsideAppError",
    "RoleError",
    "Room",
    "RoomDeletedError",
    "RoomFileError",
    "RoomLeftError",
    "RoomNameError",
    "RoomNotLoadedError",
    "ServerUnavailableError",
    "SharedCounter",
    "SharedItemDeletedError",
    "SharedList",
    "SharedMap",
    "SharedRecords",
    "SharedSet",
    "SharedState",
    "SharedText",
    "SharedTypeError",
    "Snapshot",
    "SnapshotLimitError",
    "SnapshotMissingError",
    "SnapshotNameError",
    "Snapshots",
    "StreamlitTooOldError",
    "UpdateRefusedError",
    "UserError",
    "ValueNotShareableError",
    "ValueUnreadableError",
    "ViewOnlyError",
    "Visitor",
    "connect",
    "crdt_app",
    "crdt_sync",
    "private_key",
    "rooms",
    "select_room_widget",
]
