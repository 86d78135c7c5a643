"""Device and edge at run time: a pure core (sessions, wire, codec) and thin shells around it."""
