"""What the stages say to each other: manifest, operating points, profiles, data sets, arithmetic."""
