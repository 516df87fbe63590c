"""Small neutral things that several rooms need; nothing here knows a room."""
