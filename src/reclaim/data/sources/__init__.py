"""Where examples come from, one file per kind of source: ``(source) -> Data``. Nothing is decoded before it is used."""
