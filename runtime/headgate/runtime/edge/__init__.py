"""The edge: its protocol and whose turn it is, without sockets; and its shell, `edge.edge`."""
