"""`headgate demo`: from a training to answers and a report."""
