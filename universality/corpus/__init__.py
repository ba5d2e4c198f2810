"""Text, tokens and the token blocks that every model of a study reads."""

from universality.corpus.blocks import TokenBlocks, cut_blocks
from universality.corpus.common_text import CommonText, common_blocks
from universality.corpus.corpus import Corpus, build_common, build_corpus, build_from_arrays
from universality.corpus.documents import DocumentTable
from universality.corpus.layout import TextLayout
from universality.corpus.passage import Passage
from universality.corpus.passages import Reading, read_passages, read_source
from universality.corpus.splits import split_documents
from universality.corpus.texts import write_texts
from universality.corpus.tokenizer import Tokenizer, load_tokenizer, train_bpe, wrap_tokenizer

__all__ = [
    "CommonText",
    "Corpus",
    "DocumentTable",
    "Passage",
    "Reading",
    "TextLayout",
    "TokenBlocks",
    "Tokenizer",
    "build_common",
    "build_corpus",
    "build_from_arrays",
    "common_blocks",
    "cut_blocks",
    "load_tokenizer",
    "read_passages",
    "read_source",
    "split_documents",
    "train_bpe",
    "wrap_tokenizer",
    "write_texts",
]
