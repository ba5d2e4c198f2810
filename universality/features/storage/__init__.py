"""The feature store: one HDF5 file, written once and read by token or by feature (FORMAT.md)."""
