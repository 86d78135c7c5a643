"""`bench family`: one family's page, and where splitting is worth it."""
