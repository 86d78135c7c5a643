"""Operating points: which are tried, their codecs, measuring them, the parity gate."""
