"""`bench rates`: bytes for accuracy, beside pictures in JPEG and WebP."""
