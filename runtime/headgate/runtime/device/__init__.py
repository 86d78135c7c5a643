"""The device's shell: sources, sinks, threads, the clock, and the loop that drives its session."""
