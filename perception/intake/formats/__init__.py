"""One module for each family of file formats: bytes in, a `SourceTable` out. What columns mean is not decided here."""
