"""Feature activations that another tool has cached, written to a feature store in bounded memory.

`FeatureStore.from_csr`, `from_delphi` and `from_parquet` are the public names. Each reads one format into a table of
tokens (`token_source`) and blocks of rows; entries that come by feature are put in the order of rows first
(`entry_sorter`).
"""
