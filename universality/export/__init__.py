"""Graphs and tables for other tools: GraphML, GEXF, Cytoscape and node-link JSON, CSV, Parquet."""

from universality.export.agreement_columns import effect_columns
from universality.export.csv_cells import join_tokens, split_tokens, unguard
from universality.export.cytoscape_json import write_cytoscape
from universality.export.gexf import write_gexf
from universality.export.graph_formats import write_graph, write_graph_file
from universality.export.graphml import write_graphml
from universality.export.multimodel_graph import partite_graph
from universality.export.node_annotations import annotate
from universality.export.node_link_json import write_node_link
from universality.export.pair_graph import match_graph
from universality.export.plain_graph import plain
from universality.export.pw_mcc_file import pw_mcc_record, read_pw_mcc, write_pw_mcc
from universality.export.result_tables import match_table, read_csv, write_csv, write_parquet
from universality.export.token_escapes import escape, unescape, unescape_bytes

__all__ = [
    "annotate",
    "effect_columns",
    "escape",
    "join_tokens",
    "match_graph",
    "match_table",
    "partite_graph",
    "plain",
    "pw_mcc_record",
    "read_csv",
    "read_pw_mcc",
    "split_tokens",
    "unescape",
    "unescape_bytes",
    "unguard",
    "write_csv",
    "write_cytoscape",
    "write_gexf",
    "write_graph",
    "write_graph_file",
    "write_graphml",
    "write_node_link",
    "write_parquet",
    "write_pw_mcc",
]
