"""How models change."""
