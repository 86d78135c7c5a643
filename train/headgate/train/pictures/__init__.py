"""Training pictures: data sets, the embedded one, compressed ones."""
