"""The command line. Each file is a command of that name; `main` dispatches, `flags` holds what they share."""
