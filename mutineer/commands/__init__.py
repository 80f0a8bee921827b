"""One file per command, each with a click command (or group) named `command`. Loaded only when called."""
