"""A link between real sockets that is as slow as a trace says."""
