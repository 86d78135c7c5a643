"""Networks: where they are cut, the bottleneck, the quantiser, the order of maps."""
