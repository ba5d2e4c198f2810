"""Graphs and tables for other tools: GraphML, GEXF, Cytoscape and node-link JSON, CSV, Parquet."""

from universality.export.annotate import annotate
from universality.export.cells import join_tokens, split_tokens, unguard
from universality.export.cytoscape import cytoscape, write_cytoscape
from universality.export.escape import escape, unescape, unescape_bytes
from universality.export.formats import write_graph
from universality.export.gexf import write_gexf
from universality.export.graphml import write_graphml
from universality.export.match_graph import match_graph
from universality.export.node_link import node_link, write_node_link
from universality.export.partite import partite_graph
from universality.export.plain import plain
from universality.export.tables import match_table, read_csv, write_csv, write_parquet

__all__ = [
    "annotate",
    "cytoscape",
    "escape",
    "join_tokens",
    "match_graph",
    "match_table",
    "node_link",
    "partite_graph",
    "plain",
    "read_csv",
    "split_tokens",
    "unescape",
    "unescape_bytes",
    "unguard",
    "write_csv",
    "write_cytoscape",
    "write_gexf",
    "write_graph",
    "write_graphml",
    "write_node_link",
    "write_parquet",
]
