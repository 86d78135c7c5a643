"""Integer features as bytes: packing, entropy coding, prediction from earlier frames."""
