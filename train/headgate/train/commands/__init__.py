"""What a user types: `headgate train` and its subcommands."""
