"""Tools that know no model, no class and no method."""
