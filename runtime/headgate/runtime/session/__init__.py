"""A frame's way through the device, without sockets and clocks: what to run, send, answer."""
