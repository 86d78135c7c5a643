"""The stages' common language: manifest, operating points, profiles, data sets, arithmetic."""
