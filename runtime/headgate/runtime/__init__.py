"""The runtimes of device and edge: a pure core (sessions, wire, codec) and thin shells around it."""
