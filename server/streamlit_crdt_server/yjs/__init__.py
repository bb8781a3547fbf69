"""Yjs updates (v1): decoding, cost limits, safe application. Independent of rooms and connections.

Modules:
    lib0: Numbers, bytes and texts in lib0's encoding.
    pacing: Pauses of worker threads.
    update_decoder: Form and metadata of an update, decoding of state vectors.
    update_slices: Cutting of a large update into valid updates.
    applied_clocks: The clocks that a document has applied, without reading its state vector.
    room_doc: A document whose changes are derived from updates where that is possible.
    structs: Merging and splitting of the structs of an update.
    integration_order: Order in which a document integrates the structs of an update.
    integration_cost: Budget for the comparisons that an update causes.
    nesting: Limit of the nesting of shared types in a document.
    surrogate_pairs: Repair of updates that split a surrogate pair.
    safe_apply: Validation and application of untrusted updates.
    update_order: Updates that wait for the updates that they depend on.
    log_recovery: Loading of a stored log, also with damaged updates.
"""
