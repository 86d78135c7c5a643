"""Start-up, overhead, throughput, training steps, heads: each beside a bare loop."""
