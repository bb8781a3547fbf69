"""Location of the room server: mounted, embedded or remote; the default store; the admin client."""
